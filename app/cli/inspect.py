"""`litestar-diffusion inspect`."""

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
def inspect(file: Path) -> None:
    """Say what a checkpoint or diffusers folder is, and how that was found. Reads its header alone."""
    from ..infra.catalogue.inspection_report import explain  # here, because `--help` need not wait for it

    click.echo(explain(file))
