"""Errors on a terminal: a message for people and an exit code for scripts, never a traceback for what is foreseen."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..domain.errors import DiffusionError, InvalidRequest, InvalidSettings
from .parameters import option_name

FAILED, USAGE, INTERRUPTED = 1, 2, 130

Failure = click.ClickException
"""Error that ends a command with a message and exit code 1."""


@contextmanager
def told() -> Iterator[None]:
    """Print foreseen errors on standard error and exit."""
    try:
        yield
    except click.UsageError as error:
        hint = f" `{error.ctx.command_path} --help` lists what there is." if error.ctx is not None else ""
        click.echo(f"Error: {error.format_message()}{hint}", err=True)
        sys.exit(USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except DiffusionError as error:
        click.echo(f"Error: {_words(error)}", err=True)
        sys.exit(USAGE if isinstance(error, (InvalidSettings, InvalidRequest)) else FAILED)
    except OSError as error:  # click itself ends silently if the reader of the output has left, as `head` does
        click.echo(f"Error: {error}.", err=True)
        sys.exit(FAILED)


def _words(error: DiffusionError) -> str:
    """Return an error's message, with wrong parameters under the names of their options."""
    if not isinstance(error, InvalidRequest):
        return error.message
    wrong = (f"  {option_name(each.field)}: {each.message}" for each in error.errors)
    return "\n".join(("these values are not valid:", *wrong))
