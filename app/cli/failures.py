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
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except DiffusionError as error:
        click.echo(f"Error: {_words(error)}", err=True)
        sys.exit(USAGE if isinstance(error, (InvalidSettings, InvalidRequest)) else FAILED)


def _words(error: DiffusionError) -> str:
    """Return an error's message, with wrong parameters under the names of their options."""
    if not isinstance(error, InvalidRequest):
        return error.message
    wrong = (f"  {option_name(each.field)}: {each.message}" for each in error.errors)
    return "\n".join(("these values are not valid:", *wrong))
