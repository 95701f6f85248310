"""The command line of `litestar-diffusion`, a command a module.

Nothing here imports torch, Litestar or uvicorn until a command needs it, so that `--help` answers at once.
"""

import sys

import click

from .commands.adapters import adapters
from .commands.check import check
from .commands.generate import generate
from .commands.inspect import inspect
from .commands.keys import keys
from .commands.migrate import migrate
from .commands.models import models
from .commands.pull import pull
from .commands.serve import serve
from .commands.upscale import upscale
from .failures import told

_HELP = """Make images with SDXL models, on your own machine.

\b
litestar-diffusion serve                                   an HTTP server on port 8000
litestar-diffusion generate "a red circle" -o out.png      one picture, without a server
litestar-diffusion upscale in.png -o out.png --upscaler demo-x2
litestar-diffusion models                                  the models and their state
litestar-diffusion adapters                                the LoRAs in models/loras
litestar-diffusion inspect models/demo.safetensors         what a file is, and why
litestar-diffusion keys add ci                             an API key, for a server that others may reach
litestar-diffusion migrate                                 the database of jobs, after an upgrade
litestar-diffusion pull sdxl-turbo                         a model from the Hugging Face Hub, before it is needed
litestar-diffusion check                                   what would fail, before it does

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 interrupted.
"""


@click.group(help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="litestar-diffusion")
def cli() -> None:
    """Run one of the commands."""


for command in (serve, generate, upscale, models, adapters, inspect, keys, migrate, pull, check):
    cli.add_command(command)


def main() -> None:
    """Run the console script."""
    with told():
        sys.exit(cli(standalone_mode=False))
