"""Several pools of one process divide the memory that none of them claims by name."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from litestar_diffusion import Settings
from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.budget_shares import BudgetShares, Claim, granted_nbytes
from litestar_diffusion.lifecycle import Services
from litestar_diffusion.settings import MemorySettings, ModelsSettings
from litestar_diffusion.testing import FakeEngine

DEFAULT, STATED = Claim(nbytes=90, stated=False), Claim(nbytes=30, stated=True)


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        ([DEFAULT], [90]),
        ([DEFAULT, DEFAULT], [45, 45]),
        ([DEFAULT, DEFAULT, STATED], [30, 30, 30]),
        ([STATED, STATED], [30, 30]),
        ([STATED, STATED, STATED, STATED, DEFAULT], [30, 30, 30, 30, 0]),
    ],
)
def test_stated_budgets_are_respected_and_defaults_share_what_is_left(claims: list[Claim], granted: list[int]) -> None:
    assert [granted_nbytes(claim, claims) for claim in claims] == granted


@given(st.lists(st.builds(Claim, nbytes=st.integers(0, 1000), stated=st.booleans()), min_size=1))
def test_defaults_take_together_no_more_than_the_largest_of_them_alone(claims: list[Claim]) -> None:
    defaults = [claim for claim in claims if not claim.stated]
    taken = sum(granted_nbytes(claim, claims) for claim in defaults)
    assert taken <= max((claim.nbytes for claim in defaults), default=0)


def test_pools_learn_of_others_that_come_and_go_and_only_those_of_the_same_memory() -> None:
    shares, told = BudgetShares(), list[tuple[str, Mapping[str, int]]]()
    first = shares.join({"cuda:0": DEFAULT}, lambda granted: told.append(("first", granted)))
    shares.join({"cuda:1": DEFAULT}, lambda granted: told.append(("elsewhere", granted)))
    second = shares.join({"cuda:0": DEFAULT}, lambda granted: told.append(("second", granted)))
    shares.leave(second)
    assert told == [
        ("first", {"cuda:0": 90}),
        ("elsewhere", {"cuda:1": 90}),
        ("first", {"cuda:0": 45}),
        ("second", {"cuda:0": 45}),
        ("first", {"cuda:0": 90}),
    ]
    shares.leave(first)
    assert shares.pools_of("cuda:0") == 0


def services(memory: MemorySettings | None = None) -> Services:
    settings = Settings(models=ModelsSettings(default=None), memory=memory or MemorySettings())
    return build(settings, engine=FakeEngine())


async def ready(one: Services) -> Budget:
    while one.not_ready_because() is not None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return one.pool.report().budget


def test_two_instances_of_one_process_share_one_budget() -> None:
    async def main() -> None:
        first, second = services(), services()
        async with first.running():
            alone = await ready(first)
            assert alone.device_nbytes is not None
            with capture_logs() as lines:
                async with second.running():
                    half = await ready(second)
                    await asyncio.sleep(0)
                    assert half.device_nbytes == alone.device_nbytes // 2
                    assert first.pool.report().budget == half
                await asyncio.sleep(0)
            assert first.pool.report().budget == alone, "what the second had comes back"
            said = [line for line in lines if line["event"] == "memory_divided"]
            assert [line["pools"] for line in said] == [2, 2]
            assert "memory.device" in said[0]["hint"]

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_budget_of_the_settings_is_not_divided() -> None:
    async def main() -> None:
        stated, other = services(MemorySettings(device=1000, host=2000)), services()
        async with stated.running(), other.running():
            budget, rest = await ready(stated), await ready(other)
            await asyncio.sleep(0)
            assert stated.pool.report().budget == budget == Budget(device_nbytes=1000, host_nbytes=2000)
            assert rest.device_nbytes == int(0.9 * 2**40) - 1000

    asyncio.run(asyncio.wait_for(main(), 30))
