"""Our log lines inside an application: its logging decides which are written, and where."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.logs import get_logger
from litestar_diffusion.settings import ModelsSettings
from litestar_diffusion.testing import fake_services, model

APP = Path(__file__).parents[1] / "app"


@pytest.fixture(autouse=True)
def _structlog_is_not_configured() -> Iterator[None]:
    before, configured = structlog.get_config(), structlog.is_configured()
    structlog.reset_defaults()
    yield
    structlog.configure(**before) if configured else structlog.reset_defaults()


def test_a_line_is_a_record_with_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    get_logger("litestar_diffusion.x").info("ready", device="cpu", share="100 %")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("litestar_diffusion.x", "INFO")
    assert record.module == "test_logs", "not one of structlog's"
    assert record.getMessage() == "ready device='cpu' share='100 %'"


def test_the_level_of_the_host_decides(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.ERROR)
    get_logger("litestar_diffusion.x").warning("no")
    caplog.set_level(logging.WARNING, "litestar_diffusion")
    get_logger("litestar_diffusion.x").warning("yes")
    assert [record.getMessage() for record in caplog.records] == ["yes"]
    assert "no" not in capsys.readouterr().out


def test_stacks_are_left_to_the_handlers_of_the_host(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        get_logger("litestar_diffusion.x").exception("failed", code="x")
    (record,) = caplog.records
    assert record.module == "test_logs"
    assert record.getMessage() == "failed code='x'"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_structlog_decides_if_the_host_has_configured_it(caplog: pytest.LogCaptureFixture) -> None:
    log = get_logger("litestar_diffusion.x")  # made before
    with structlog.testing.capture_logs() as lines:
        log.info("ready", device="cpu")
    assert lines == [{"event": "ready", "device": "cpu", "log_level": "info"}]
    assert caplog.records == []


def test_an_embedded_instance_writes_nothing_below_the_level_of_the_host(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    settings = Settings(models=ModelsSettings(default=None))
    plugin = DiffusionPlugin(DiffusionConfig(build=lambda _: fake_services(model("demo"), settings=settings)))
    with TestClient(Litestar(plugins=[plugin], logging_config=None)) as client:
        assert client.post("/models/demo/load").status_code == 200
    assert not re.search("load|ready|models", capfd.readouterr().out)
    assert caplog.records == []


def test_every_module_logs_through_these_loggers() -> None:
    direct = [str(path) for path in APP.rglob("*.py") if "structlog.get_logger" in path.read_text()]
    assert direct == [str(APP / "logs.py")]
