"""What the standalone application tells a person at its start."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from litestar_diffusion.asgi import _loading_shown, create_app
from litestar_diffusion.infra.telemetry.logs.loading_bars import LoadingBars
from litestar_diffusion.settings import LogSettings, ModelsSettings, Settings

SETTINGS = Settings(models=ModelsSettings(directory=None, default=None, hub_enabled=False))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The standalone application owns its process: put back what it changes."""
    root, interval = logging.getLogger(), sys.getswitchinterval()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    sys.setswitchinterval(interval)


def test_variables_that_look_like_settings_and_are_none_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LITESTAR_DIFFUSION_SERVER_PORT", "9000")
    create_app(SETTINGS)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    hints = {line["name"]: line["hint"] for line in lines if line["event"] == "unknown_variable"}
    assert hints["LITESTAR_DIFFUSION_SERVER_PORT"] == "Did you mean LITESTAR_DIFFUSION__SERVER__PORT?"


@pytest.mark.parametrize(
    ("stream", "log", "bars"),
    [
        (Terminal(), LogSettings(), True),
        (Terminal(), LogSettings(format="json"), False),
        (Terminal(), LogSettings(level="warning"), False),
        (io.StringIO(), LogSettings(format="console"), False),
    ],
)
def test_live_bars_are_for_a_terminal_that_shows_progress(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, log: LogSettings, bars: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    assert isinstance(_loading_shown(log), LoadingBars) is bars
