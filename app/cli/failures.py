"""Errors on a terminal: a message for people and an exit code for scripts, never a traceback for what is foreseen."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from ..domain.errors import DiffusionError, InvalidRequest, InvalidSettings

FAILED, USAGE, INTERRUPTED = 1, 2, 130


@contextmanager
def told() -> Iterator[None]:
    """Print foreseen errors and exit."""
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    except DiffusionError as error:
        click.echo(f"{error.title}: {error.message}", err=True)
        sys.exit(USAGE if isinstance(error, (InvalidSettings, InvalidRequest)) else FAILED)
