"""Loads and downloads that take long are seen: as log lines each few seconds, or as live bars on a terminal."""

import io
import sys
from typing import Any

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from litestar_diffusion.domain.models.assets import AssetKey
from litestar_diffusion.domain.models.components import LoadProgress
from litestar_diffusion.infra.telemetry.logs.console_phrases import phrase
from litestar_diffusion.infra.telemetry.logs.loading_bars import LoadingBars
from litestar_diffusion.infra.telemetry.logs.loading_log import LOG_EVERY_S, LoadingLog

ONE, OTHER = AssetKey("model", "one"), AssetKey("adapter", "other")
GB = 10**9


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def download(done: int, total: int = 7 * GB) -> LoadProgress:
    return LoadProgress(phase="download", done_nbytes=done, total_nbytes=total)


def test_a_long_download_is_a_line_each_few_seconds_with_percent_bytes_and_speed() -> None:
    clock = Clock()
    log = LoadingLog(clock=clock)
    with capture_logs() as lines:
        for tenth in range(int(LOG_EVERY_S * 21)):
            clock.now = tenth / 10
            log(ONE, download(GB + tenth * 10**7))
    assert [line["percent"] for line in lines] == [21, 28]
    told: dict[str, Any] = {**lines[0]}
    assert (told["model"], told["phase"], told["total"], told["mb_per_s"]) == ("one", "download", 7 * GB, 100.0)
    assert phrase(told) == "Downloading one: 21 %, 1.50 GB of 7.00 GB, 100.0 MB/s"


def test_a_short_load_and_the_next_load_of_the_same_model_tell_nothing_old() -> None:
    clock = Clock()
    log = LoadingLog(clock=clock)
    with capture_logs() as lines:
        log(ONE, download(0))
        log(ONE, None)
        clock.now = LOG_EVERY_S + 1
        log(ONE, download(0))
        log(ONE, LoadProgress(phase="read", done_nbytes=5, total_nbytes=10))
    assert lines == []


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def shown(terminal: Console) -> str:
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def test_a_bar_on_a_terminal_shows_each_model_and_goes_away_with_the_last(terminal: Console) -> None:
    clock, before = Clock(), sys.stderr
    bars = LoadingBars(terminal, clock=clock)
    read = LoadProgress(phase="read", done_nbytes=5 * 10**6, total_nbytes=10**7)
    for model in (ONE, OTHER):
        bars(model, read)
    assert shown(terminal) == "", "a load that is over at once shows nothing"
    clock.now = 1.0
    bars(ONE, download(7 * GB // 4))
    bars(OTHER, read)
    assert bars._bars is not None
    bars._bars.refresh()
    assert "Downloading one" in shown(terminal)
    assert "25 %" in shown(terminal)
    assert "Loading other" in shown(terminal)
    sys.stderr.write("a line of the log\n")  # goes above the bars
    assert "a line of the log" in shown(terminal)
    bars(ONE, None)
    assert bars._bars is not None
    bars(OTHER, None)
    assert bars._bars is None
    assert sys.stderr is before
    bars(OTHER, None)  # an end without a bar is none


def test_a_download_shows_its_bar_at_once_because_it_may_stall(terminal: Console) -> None:
    bars = LoadingBars(terminal)
    bars(ONE, download(0))
    assert "Downloading one" in shown(terminal)
    bars(ONE, None)
