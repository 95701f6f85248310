"""`litestar-diffusion inspect`."""

from pathlib import Path

import click


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
def inspect(file: Path) -> None:
    """Say what a checkpoint, diffusers folder, LoRA, VAE or embedding is, and how that was found. Reads its header alone."""
    from ...infra.catalogue.reports.adapter_report import (
        explain_addition,  # here, because `--help` need not wait for it
    )
    from ...infra.catalogue.reports.inspection_report import explain

    click.echo(explain_addition(file) or explain(file))
