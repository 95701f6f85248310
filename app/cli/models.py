"""`litestar-diffusion models`."""

from pathlib import Path

import click
import msgspec

from ..domain.model import Checkpoint, Folder, HubRepository, ModelSpec
from ..settings import load_settings
from .options import settings_option


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@settings_option
def models(as_json: bool, settings_file: Path | None) -> None:
    """List the models that the server would offer, and why others are unusable."""
    from ..bootstrap import build  # here, because `--help` need not wait for it

    specs = build(load_settings(settings_file)).catalogue.list()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_facts(spec) for spec in specs])).decode())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("MODEL", "SOURCE", "PREDICTION", "STEPS", "ON DISK", "STATE"):
        table.add_column(heading, overflow="fold")
    for spec in specs:
        table.add_row(*_row(spec))
    Console().print(table)


def _row(spec: ModelSpec) -> tuple[str, ...]:
    if spec.unusable is not None:
        return spec.name, _source(spec), "", "", "", f"unusable: {spec.unusable}"
    traits = spec.traits
    prediction = traits.prediction_type + (", zero SNR" if traits.zero_snr else "")
    kind = f"{traits.few_step.steps} ({traits.few_step.kind})" if traits.few_step else "standard"
    size = f"{spec.nbytes / 1e6:,.0f} MB" if spec.nbytes else "not downloaded"
    return spec.name, _source(spec), prediction, kind, size, "usable"


def _source(spec: ModelSpec) -> str:
    match spec.source:
        case HubRepository(repo=repo):
            return repo
        case Checkpoint(path=path) | Folder(path=path):
            return str(path)


def _facts(spec: ModelSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "source": _source(spec),
        "traits": spec.traits,
        "evidence": spec.evidence,
        "nbytes": spec.nbytes,
        "unusable": spec.unusable,
    }
