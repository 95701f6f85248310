"""Options that commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

settings_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--settings",
    "settings_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Settings file. [default: settings.toml in the working directory, if there is one]",
)
