"""`litestar-diffusion models`."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ...domain.families.upscaler.networks import UpscalerNetwork
from ...domain.models.spec import Checkpoint, Folder, HubRepository, ModelSpec, ModelTraits
from ...domain.units import format_bytes
from ..options import settings_option
from ..source import source_of
from ..table import print_table

if TYPE_CHECKING:  # `--help` need not wait for what this imports
    from ...lifecycle import Services

_HEADINGS = ("MODEL", "SOURCE", "KIND", "PREDICTION", "ON DISK", "STATE", "ALIASES")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with how each trait was found.")
@settings_option
def models(as_json: bool, settings_file: Path | None = None) -> None:
    """List the models and upscalers that the server would offer, and why others are unusable."""
    source = source_of(settings_file)
    if source.standalone:
        from ...infra.telemetry.logs.logging import configure_logging  # here, because `--help` need not wait for it

        configure_logging(source.settings.log.format, "warning")  # to standard error: the list is for programs, too
    specs = asyncio.run(_listed(source.build(source.settings)))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_facts(spec) for spec in specs])))
    else:
        print_table(_HEADINGS, [_row(spec) for spec in specs])


async def _listed(services: "Services") -> list[ModelSpec]:
    """List models, then upscalers."""
    return [*await services.catalogues.models.refresh(), *await services.catalogues.upscalers.refresh()]


def _row(spec: ModelSpec) -> tuple[str, ...]:
    if spec.unusable is not None:
        return spec.name, _source(spec), "", "", _size(spec.nbytes), f"unusable: {spec.unusable}", _aliases(spec)
    if isinstance(spec.networks, UpscalerNetwork):
        kind = f"upscaler x{spec.networks.scale}"
        return spec.name, _source(spec), kind, "", _size(spec.nbytes), "usable", _aliases(spec)
    prediction = spec.traits.prediction_type + (", zero SNR" if spec.traits.zero_snr else "")
    return spec.name, _source(spec), _kind(spec.traits), prediction, _size(spec.nbytes), "usable", _aliases(spec)


def _aliases(spec: ModelSpec) -> str:
    return ", ".join(spec.aliases)


def _source(spec: ModelSpec) -> str:
    match spec.source:
        case HubRepository(repo=repo):
            return repo
        case Checkpoint(path=path) | Folder(path=path):
            return os.fsencode(path).decode(errors="replace")  # names of files need not be text


def _kind(traits: ModelTraits) -> str:
    few = traits.few_step
    return traits.kind if few is None else f"{few.kind}, {few.steps} step{'s' if few.steps > 1 else ''}"


def _size(nbytes: int | None) -> str:
    return "unknown" if nbytes is None else format_bytes(nbytes)


def _facts(spec: ModelSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "aliases": spec.aliases,
        "source": _source(spec),
        "traits": spec.traits,
        "evidence": spec.evidence,
        "nbytes": spec.nbytes,
        "builtin": spec.builtin,
        "unusable": spec.unusable,
    }
