"""An engine that cannot start says why, to each that asks; one whose libraries try to end the process goes on."""

import asyncio
import threading
from typing import Any, cast

import pytest

from litestar_diffusion.domain.errors import DiffusionError, EngineFailed
from litestar_diffusion.infra.engine.engine_threads import EngineThreads
from tests.infra.engine.one_engine import one_engine


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"device": "cuda:97"}, r"The settings name the device 'cuda:97' .*, but torch sees \d+ CUDA devices"),
        ({"threads": -5}, r"torch could not be started \(RuntimeError: .*log has the details"),
    ],
)
def test_a_failed_start_is_one_error_with_its_reason(options: dict[str, Any], reason: str) -> None:
    async def main() -> None:
        engine = one_engine(**{"device": "cpu", "dtype": "auto", "threads": 0, "fetch": None, **options})
        for _ in range(2):
            with pytest.raises(EngineFailed, match=reason):
                await engine.start()
        assert not engine.threads.started
        await engine.stop()

    asyncio.run(main())


class Exiting:
    """A runtime whose steps try to end the process."""

    def __init__(self) -> None:
        self.failures: list[DiffusionError] = []
        self.failed = threading.Semaphore(0)

    def step(self) -> bool:
        raise SystemExit(1)

    def abandon(self, failure: DiffusionError) -> None:
        self.failures.append(failure)
        self.failed.release()


def test_a_library_that_tries_to_end_the_process_fails_its_requests_and_no_more() -> None:
    def leave() -> None:
        raise SystemExit(1)

    async def main() -> None:
        threads, runtime = EngineThreads(lambda: Exiting(), "cpu"), Exiting()
        threads._runtime = cast("Any", runtime)
        for _ in range(2):  # the second time shows that the thread still steps
            threads.wake()
            assert await asyncio.to_thread(runtime.failed.acquire, timeout=20)
        assert [failure.code for failure in runtime.failures] == ["generation_failed"] * 2
        with pytest.raises(RuntimeError, match="tried to end the process"):
            await threads.run(threads.loader, leave)
        threads.stop()

    asyncio.run(main())
