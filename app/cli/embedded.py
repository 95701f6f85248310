"""`litestar diffusion`: the commands inside the command line of an application that embeds the plugin."""

from collections.abc import Callable
from typing import Any

import click

from ..lifecycle import Services
from ..settings import Settings
from .commands.adapters import adapters
from .commands.generate import generate
from .commands.inspect import inspect
from .commands.models import models
from .commands.upscale import upscale
from .failures import told
from .source import Source


def diffusion_group(settings: Settings, build: Callable[[Settings], Services]) -> click.Group:
    """Make the group of commands. There is no `serve`: `litestar run` serves the application.

    Args:
        settings: of the application's plugin.
        build: makes the services, as for a lifespan.
    """
    source = Source(settings=settings, build=build, standalone=False)

    @click.group(
        "diffusion",
        help="Make and enlarge images, list models and adapters, and inspect files, with the settings of this application.",
    )
    @click.pass_context
    def group(context: click.Context) -> None:
        context.obj = source

    for command in (generate, upscale, models, adapters, inspect):
        group.add_command(_embedded(command))
    return group


def _embedded(command: click.Command) -> click.Command:
    """Return a command without its settings file, whose errors end it with a message as ours do."""
    callback = command.callback
    assert callback is not None

    def run(**arguments: Any) -> None:
        with told():
            callback(**arguments)

    return click.Command(
        command.name,
        callback=run,
        params=[parameter for parameter in command.params if parameter.name != "settings_file"],
        help=command.help,
    )
