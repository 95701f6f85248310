"""The error tree: messages about a limit name its setting."""

import re

import pytest

from litestar_diffusion.domain.errors import (
    DiffusionError,
    EngineStuck,
    ExpiredJob,
    QueueFull,
    TooManyRequests,
    WaitedTooLong,
)
from litestar_diffusion.settings import Settings

REFUSALS = [
    QueueFull(64, retry_after_s=90),
    QueueFull(80, retry_after_s=90, state="unfinished", setting="limits.max_waiting + dispatch.max_rows"),
    TooManyRequests(8, retry_after_s=20),
    WaitedTooLong(30.0, retry_after_s=20),
    EngineStuck(700.0, limit_s=600.0),
    ExpiredJob("x"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: error.code)
def test_a_message_about_a_limit_names_settings_that_exist(error: DiffusionError) -> None:
    named = re.findall(r"\b([a-z]\w+)\.([a-z]\w+)\b", error.message)
    assert named
    assert [f"{section}.{key}" for section, key in named if not hasattr(getattr(Settings(), section, None), key)] == []
