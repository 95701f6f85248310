"""Times of jobs do not jump when the system's clock is set."""

import time

import pytest

from litestar_diffusion.domain.clock import steady_time


def test_a_clock_that_is_set_a_day_forward_moves_no_job_to_its_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    before = steady_time()
    assert abs(before - time.time()) < 60
    later = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: later)
    assert 0 <= steady_time() - before < 60
