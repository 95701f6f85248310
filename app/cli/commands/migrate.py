"""`litestar-diffusion migrate`."""

import asyncio
from pathlib import Path

import click

from ...settings import load_settings, with_durable_jobs
from ..options import settings_option


@click.command()
@settings_option
def migrate(settings_file: Path | None) -> None:
    """Bring the database of jobs to the version of this package, as `serve` does at its start."""
    jobs = with_durable_jobs(load_settings(settings_file), settings_file).jobs
    if not jobs.directory:
        click.echo("Jobs are kept in memory (jobs.directory): there is no database.", err=True)
        return
    from ...infra.jobs.folder import migrate_in  # here, because `--help` need not wait for SQLAlchemy

    click.echo(asyncio.run(migrate_in(Path(jobs.directory), jobs.database)))
