"""`litestar-diffusion check`."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from ...domain.models.spec import ModelSpec
from ...settings import Settings, load_settings, with_durable_jobs
from ..checks import models as model_checks
from ..checks import server as server_checks
from ..checks.database import database
from ..checks.findings import Finding, State, ok
from ..failures import FAILED
from ..options import settings_option

_MARKS: dict[State, str] = {"ok": "ok      ", "warning": "warning ", "failed": "FAILED  "}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Machine-readable: a list of findings.")
@settings_option
@click.pass_context
def check(context: click.Context, as_json: bool, settings_file: Path | None) -> None:
    """Look for what would fail, before it does: settings, port, keys, disk, database, models, device, memory.

    Exit codes: 0 the server will work, maybe with warnings; 1 something would fail; 2 the settings are wrong.
    """
    from ...infra.telemetry.logs.logging import configure_logging  # here, because `--help` need not wait for it

    settings = with_durable_jobs(load_settings(settings_file), settings_file)
    configure_logging(settings.log.format, "error")  # what is wrong is a finding
    findings = [ok("settings", "All keys and values are valid."), *_findings(settings)]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(findings)))
    else:
        for finding in findings:
            _print(finding)
    context.exit(FAILED if any(finding.state == "failed" for finding in findings) else 0)


def _findings(settings: Settings) -> Iterator[Finding]:
    for look in (server_checks.port, server_checks.keys, server_checks.folders, database, server_checks.traces):
        yield from look(settings)
    specs = asyncio.run(_specs(settings))
    yield from model_checks.models(settings, specs)
    yield from model_checks.device(settings, specs)


async def _specs(settings: Settings) -> Sequence[ModelSpec]:
    from ...bootstrap import build  # here, because `--help` need not wait for it

    return await build(settings).catalogues.models.refresh()


def _print(finding: Finding) -> None:
    click.echo(f"{_MARKS[finding.state]}{finding.check}: {finding.detail}")
    if finding.hint:
        click.echo(f"        {finding.hint}")
