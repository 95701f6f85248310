"""`check` finds what would fail before the server does, with what to do next and an exit code for scripts."""

import json
import socket
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from litestar_diffusion.cli.checks import models as model_checks
from litestar_diffusion.cli.checks import server as server_checks
from litestar_diffusion.cli.commands.check import check
from litestar_diffusion.domain.access.api_key import ApiKey, hash_of
from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.settings import (
    HubSettings,
    JobsSettings,
    ModelsSettings,
    ServerSettings,
    Settings,
    TelemetrySettings,
)
from litestar_diffusion.testing import model

Check = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr("litestar_diffusion.infra.telemetry.logs.logging.configure_logging", lambda *_: None)

    def invoke(settings: str = "", *arguments: str) -> Result:
        file = tmp_path / "settings.toml"
        # The folder of models is absent.
        file.write_text(f'[server]\nport = 0\n[hub]\ncache = "{tmp_path}"\n{settings}')
        return CliRunner().invoke(check, ["--settings", str(file), *arguments])

    return invoke


def states(findings: Any) -> list[tuple[str, str]]:
    return [(each.check, each.state) for each in findings]


def test_a_server_that_will_work_ends_with_0_and_a_line_for_each_check(run: Check) -> None:
    done = run()
    assert done.exit_code == 0, done.output
    for name in ("settings", "port", "keys", "downloads", "jobs", "database", "models", "device", "memory"):
        assert f"ok      {name}: " in done.output


def test_programs_read_the_findings_as_json_and_the_exit_code_says_that_one_failed(run: Check) -> None:
    done = run('[models]\ndefault = "missing"\n[device]\nname = "cuda:97"\n', "--json")
    assert done.exit_code == 1
    found = {each["check"]: each for each in json.loads(done.stdout) if each["state"] == "failed"}
    assert set(found) == {"models", "device"}
    assert "'missing'" in found["models"]["detail"]
    assert "demo" in found["models"]["hint"]
    assert found["device"]["hint"] == "Set device.name to auto or cpu."


def test_wrong_settings_are_told_as_by_every_command(run: Check) -> None:
    done = run("[models]\ndefualt = 1\n")
    assert isinstance(done.exception, InvalidSettings), "which is exit code 2"


def test_a_port_in_use_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(server=ServerSettings(port=other.getsockname()[1]))
        [finding] = server_checks.port(settings)
    assert (finding.state, "in use" in finding.detail) == ("failed", True)


@pytest.mark.parametrize(
    ("server", "keys", "state"),
    [
        (ServerSettings(), {}, "ok"),
        (ServerSettings(host="0.0.0.0"), {}, "failed"),
        (ServerSettings(host="0.0.0.0", insecure=True), {}, "warning"),
        (ServerSettings(), {"old": ApiKey(hash=hash_of("x"), scopes=("read",), expires=date(2026, 1, 1))}, "warning"),
    ],
)
def test_keys_are_checked_as_serve_does(server: ServerSettings, keys: dict[str, ApiKey], state: str) -> None:
    [finding] = server_checks.keys(Settings(server=server, keys=keys), date(2026, 2, 1))
    assert finding.state == state


def test_a_disk_that_is_nearly_full_and_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(hub=HubSettings(cache=str(tmp_path / "not" / "yet")))
    assert states(server_checks.folders(settings)) == [("downloads", "ok")]
    usage = type(server_checks.shutil.disk_usage(tmp_path))
    monkeypatch.setattr(server_checks.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 5))
    assert states(server_checks.folders(settings)) == [("downloads", "warning")]
    jobs = Settings(hub=HubSettings(cache=str(tmp_path)), jobs=JobsSettings(directory=str(tmp_path)))
    assert states(server_checks.folders(jobs)) == [("downloads", "warning"), ("jobs", "failed")]
    refused = Settings(hub=HubSettings(cache="/proc/nothing"))
    assert states(server_checks.folders(refused)) == [("downloads", "failed")]


def test_traces_need_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Settings(telemetry=TelemetrySettings(traces=True))
    assert states(server_checks.traces(wanted)) == [("traces", "ok")]
    monkeypatch.setattr(server_checks, "find_spec", lambda _: None)
    assert states(server_checks.traces(wanted)) == [("traces", "failed")]
    assert list(server_checks.traces(Settings())) == []


def test_a_default_model_that_is_larger_than_its_memory_fails() -> None:
    settings = Settings(models=ModelsSettings(default="big"))
    specs = [model("big", nbytes=100)]
    assert states(model_checks.memory(settings, specs, "memory.host", 100)) == [("memory", "ok")]
    [finding] = model_checks.memory(settings, specs, "memory.host", 99)
    assert finding.state == "failed"
    assert "Raise memory.host" in finding.hint


def test_an_address_that_leads_nowhere_is_one_finding_among_all(run: Check, tmp_path: Path) -> None:
    file = tmp_path / "nowhere.toml"
    file.write_text(f'[server]\nport = 0\nhost = "no such host"\n[hub]\ncache = "{tmp_path}"\n')
    done = run("", "--json", "--settings", str(file))
    assert done.exit_code == 1
    assert [each["check"] for each in json.loads(done.stdout) if each["state"] == "failed"] == ["port"]
