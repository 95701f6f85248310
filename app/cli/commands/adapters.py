"""`litestar-diffusion adapters`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ...domain.models.adapters import AdapterReading, AdapterSpec
from ...domain.units import format_bytes
from ..options import settings_option
from ..source import source_of
from ..table import print_table

_HEADINGS = ("ADAPTER", "FOR", "FORMAT", "ALGORITHM", "RANK", "CHANGES", "SIZE", "STATE", "TRIGGER WORDS")
_MOST_WORDS = 3


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable, with all trigger words and the evidence.")
@settings_option
def adapters(as_json: bool, settings_file: Path | None = None) -> None:
    """List the LoRAs and their relatives in models/loras, and why others are unusable."""
    source = source_of(settings_file)
    if source.standalone:
        from ...infra.telemetry.logs.logging import configure_logging  # here, because `--help` need not wait for it

        configure_logging(source.settings.log.format, "warning")  # to standard error: the list is for programs, too
    specs = asyncio.run(source.build(source.settings).catalogues.adapters.refresh())
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_facts(spec) for spec in specs])))
    else:
        print_table(_HEADINGS, [_row(spec) for spec in specs])


def _row(spec: AdapterSpec) -> Sequence[str]:
    if spec.reading is None:
        return spec.name, "", "", "", "", "", format_bytes(spec.nbytes), f"unusable: {spec.unusable}", ""
    reading = spec.reading
    return (
        spec.name,
        reading.family,
        reading.format,
        algorithms_of(reading),
        ", ".join(map(str, reading.ranks)),
        ", ".join(reading.components),
        format_bytes(spec.nbytes),
        "usable" if spec.unusable is None else f"unusable: {spec.unusable}",
        ", ".join(reading.trigger_words[:_MOST_WORDS]),
    )


def algorithms_of(reading: AdapterReading) -> str:
    """Name the algorithms of an adapter in a few words."""
    return ", ".join((*reading.algorithms, *(("dora",) if reading.dora else ())))


def _facts(spec: AdapterSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "file": str(spec.path),
        "usable": spec.unusable is None,
        "unusable": spec.unusable,
        "version": spec.version,
        "size_nbytes": spec.nbytes,
        "reading": spec.reading,
    }
