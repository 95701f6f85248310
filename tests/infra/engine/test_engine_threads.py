"""An engine that cannot start says why, to each that asks."""

import asyncio
from typing import Any

import pytest

from litestar_diffusion.domain.errors import EngineFailed
from litestar_diffusion.infra.engine.engine import TorchEngine


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"device": "cuda:97"}, r"device\.name in the settings is 'cuda:97', but torch sees \d+ CUDA devices"),
        ({"threads": -5}, r"torch could not be started \(RuntimeError: .*log has the details"),
    ],
)
def test_a_failed_start_is_one_error_with_its_reason(options: dict[str, Any], reason: str) -> None:
    async def main() -> None:
        engine = TorchEngine(**{"device": "cpu", "dtype": "auto", "threads": 0, "fetch": None, **options})
        for _ in range(2):
            with pytest.raises(EngineFailed, match=reason):
                await engine.start()
        assert not engine.started
        await engine.stop()

    asyncio.run(main())
