"""`litestar-diffusion pull`."""

from pathlib import Path

import click

from ...domain.models.spec import HubModel, HubRepository
from ...settings import Settings, load_settings
from ..failures import Failure
from ..options import settings_option
from ..progress import progress_shown


@click.command()
@click.argument("model", metavar="NAME|REPOSITORY")
@click.option("--revision", help="Branch, tag or commit. [default: that of the settings, else main]")
@click.option("--variant", help="Which weight files, such as fp16. [default: that of the settings, else those without]")
@settings_option
def pull(model: str, revision: str | None, variant: str | None, settings_file: Path | None) -> None:
    """Download a model from the Hugging Face Hub before it is needed.

    NAME is that of a [[models.hub]] entry of the settings, REPOSITORY one such as stabilityai/sdxl-turbo. The same
    command goes on with an interrupted download: in the middle of a file, or with the next file if the Hub keeps them in Xet. The
    folder is printed on standard output.
    """
    from ...infra.hub.fetcher import HubFetcher  # here, because `--help` need not wait for it
    from ...infra.telemetry.logs.logging import configure_logging

    settings = load_settings(settings_file)
    configure_logging(settings.log.format, "warning")  # to standard error, beside the bar
    known = _entry(settings, model)
    source = _source(known, model, revision, variant)
    cache = Path(settings.hub.cache) if settings.hub.cache is not None else None
    fetcher = HubFetcher(cache=cache, offline=settings.hub.offline)
    try:
        with progress_shown() as show:
            folder = fetcher(source, show)
    finally:
        fetcher.close()  # an interrupted one stops at its next piece
    click.echo(folder)
    if known is None:
        click.echo(_how_to_offer(source), err=True)


def _entry(settings: Settings, model: str) -> HubModel | None:
    """Return the entry of the settings of this name, or of this repository."""
    return next((each for each in settings.models.hub if model in (each.name, each.repo)), None)


def _source(known: HubModel | None, model: str, revision: str | None, variant: str | None) -> HubRepository:
    if known is not None:
        return HubRepository(repo=known.repo, revision=revision or known.revision, variant=variant or known.variant)
    if "/" not in model:
        raise Failure(
            f"The settings have no [[models.hub]] entry named {model!r}. `litestar-diffusion models` lists what there is; a "
            "repository has a slash in its name, such as stabilityai/sdxl-turbo."
        )
    return HubRepository(repo=model, revision=revision, variant=variant)


def _how_to_offer(source: HubRepository) -> str:
    """Return the table that makes the server offer what was downloaded."""
    stated = {"revision": source.revision, "variant": source.variant}
    lines = [f'{key} = "{value}"' for key, value in stated.items() if value is not None]
    name = source.repo.rpartition("/")[2]
    return "\n".join(
        (
            "To offer it, add this to settings.toml:",
            "[[models.hub]]",
            f'name = "{name}"',
            f'repo = "{source.repo}"',
            *lines,
        )
    )
