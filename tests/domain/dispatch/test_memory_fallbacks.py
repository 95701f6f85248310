"""Memory fallbacks: which one is taken when, what is learnt from a failure, and which error the last one ends in."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.dispatch.dispatcher import Dispatcher
from litestar_diffusion.domain.dispatch.job import Job, gone_away
from litestar_diffusion.domain.dispatch.memory_fallbacks import Attempt, FallbackResult, MemoryFallbacks
from litestar_diffusion.domain.dispatch.policy import DispatchPolicy
from litestar_diffusion.domain.dispatch.stage import Stage
from litestar_diffusion.domain.errors import Cancelled, InsufficientMemory, OutOfMemory
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.plan import Plan, warnings
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS, MemorySavings
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import model
from tests.domain.simulation import Simulation, run, simulate

TILED, SPLIT = MemorySavings(tiled_decode=True), MemorySavings(split_guidance=True)
BOTH = MemorySavings(tiled_decode=True, split_guidance=True)
SPEC = model("a")
PLAN = Plan(memory_savings=NO_SAVINGS, activation_nbytes=0)
Failing = Callable[[GenerationRequest, MemorySavings], OutOfMemory | None]


def request(width: int = 1024, height: int = 1024, guidance_scale: float = 7.5) -> GenerationRequest:
    said = GenerationParameters(
        prompt="x", width=width, height=height, guidance_scale=guidance_scale, num_inference_steps=2
    )
    return resolve(said, SPEC, Limits(), random_seed=0).request


def at(stage: str, unless: Callable[[MemorySavings], bool] = lambda _: False, times: int = 10**6) -> Failing:
    """Return a failure at a stage, `times` times, unless enough is saved."""
    left = [times]

    def failing(_request: GenerationRequest, memory_savings: MemorySavings) -> OutOfMemory | None:
        if unless(memory_savings) or not left[0]:
            return None
        left[0] -= 1
        return OutOfMemory(stage)

    return failing


async def fall_back(
    sim: Simulation,
    failing: Failing,
    *,
    fallbacks: MemoryFallbacks | None = None,
    asked: GenerationRequest | None = None,
) -> FallbackResult:
    sim.engine.out_of_memory = failing
    async with sim.pool.lease("a") as lease:
        return await (fallbacks or MemoryFallbacks(sim.pool, sim.engine)).run(
            lease, asked or request(), lambda *_: None
        )


def test_nothing_is_saved_while_memory_is_enough() -> None:
    async def scenario() -> None:
        sim = simulate()
        assert (await fall_back(sim, at("decode", times=0))).savings == ()
        assert sim.engine.savings_levels == [NO_SAVINGS]

    run(scenario)


@pytest.mark.parametrize("stage", ["encode", "encode_image", "denoise", "decode"])
def test_idle_models_leave_first_at_every_stage(stage: str) -> None:
    async def scenario() -> None:
        sim = simulate()
        await sim.pool.load("b")
        attempt = await fall_back(sim, at(stage, times=1))
        assert attempt.savings == ("drop_idle",)
        assert sim.engine.savings_levels == [NO_SAVINGS, NO_SAVINGS]
        assert sim.residencies("a", "b") == ["device", "host"]
        assert warnings(attempt.savings) == ()

    run(scenario)


@pytest.mark.parametrize(
    ("width", "on_a_cpu", "limit", "planned"),
    [
        (1536, True, 1536**2, NO_SAVINGS),
        (1544, True, 1536**2, TILED),
        (1544, False, 1536**2, NO_SAVINGS),
        (1544, True, None, NO_SAVINGS),
    ],
    ids=["at-the-limit", "above-it", "on-a-gpu", "no-limit"],
)
def test_a_cpu_decodes_images_above_a_limit_in_tiles(
    width: int, on_a_cpu: bool, limit: int | None, planned: MemorySavings
) -> None:
    async def scenario() -> None:
        sim = simulate(shares=on_a_cpu)
        fallbacks = MemoryFallbacks(sim.pool, sim.engine, whole_decode_px=limit)
        plan = fallbacks.plan(SPEC, request(width=width, height=1536))
        assert plan.memory_savings == planned
        assert plan.activation_nbytes < 3 * 2**30 if planned == TILED else plan.activation_nbytes > 3 * 2**30

    run(scenario)


@pytest.mark.parametrize("stage", ["encode_image", "decode"])
def test_an_autoencoder_without_memory_works_in_tiles_and_the_client_is_warned(stage: str) -> None:
    async def scenario() -> None:
        sim = simulate()
        attempt = await fall_back(sim, at(stage, lambda memory_savings: memory_savings.tiled_decode))
        assert attempt.savings == ("tiled_decode",)
        assert sim.engine.savings_levels == [NO_SAVINGS, TILED]
        assert "tiles" in warnings(attempt.savings)[0]

    run(scenario)


def test_a_denoiser_without_memory_splits_the_rows_and_makes_no_tiles() -> None:
    async def scenario() -> None:
        sim = simulate()
        assert (await fall_back(sim, at("denoise", lambda memory_savings: memory_savings.split_guidance))).savings == (
            "split_guidance",
        )
        assert sim.engine.savings_levels == [NO_SAVINGS, SPLIT]

    run(scenario)


def test_fallbacks_add_up_in_order_until_the_request_fits() -> None:
    async def scenario() -> None:
        def failing(_request: GenerationRequest, memory_savings: MemorySavings) -> OutOfMemory | None:
            if not memory_savings.tiled_decode:
                return OutOfMemory("decode")
            return None if memory_savings.split_guidance else OutOfMemory("denoise")

        sim = simulate()
        await sim.pool.load("b")
        attempt = await fall_back(sim, failing)
        assert attempt.savings == ("drop_idle", "tiled_decode", "split_guidance")
        assert sim.engine.savings_levels == [NO_SAVINGS, NO_SAVINGS, TILED, BOTH]
        assert [image.pixels for image in attempt.rendered.images]

    run(scenario)


@pytest.mark.parametrize(
    ("stage", "guidance_scale", "attempts"),
    [("encode", 7.5, 1), ("denoise", 1.0, 1), ("denoise", 7.5, 2), ("decode", 7.5, 2)],
)
def test_fallbacks_that_cannot_help_are_skipped(stage: str, guidance_scale: float, attempts: int) -> None:
    async def scenario() -> None:
        sim = simulate()
        with pytest.raises(InsufficientMemory):
            await fall_back(sim, at(stage), asked=request(guidance_scale=guidance_scale))
        assert len(sim.engine.savings_levels) == attempts

    run(scenario)


def test_pinned_models_and_those_in_use_stay() -> None:
    async def scenario() -> None:
        sim = simulate()
        await sim.pool.load("b")
        sim.pool.pin("b")
        async with sim.pool.lease("c"):
            with pytest.raises(InsufficientMemory) as caught:
                await fall_back(sim, at("encode"))
        assert caught.value.savings == ()
        assert sim.residencies("b", "c") == ["device", "device"]

    run(scenario)


def test_the_error_has_the_numbers_and_the_largest_size_that_would_fit() -> None:
    async def scenario() -> None:
        sim = simulate(device_nbytes=10**9)
        with pytest.raises(InsufficientMemory) as caught:
            await fall_back(sim, at("decode"))
        error = caught.value
        assert error.savings == ("tiled_decode",)
        assert error.available_nbytes == 10**9
        assert error.needed_nbytes > error.available_nbytes
        assert error.largest_size is not None
        width, height = error.largest_size
        assert width == height < 1024
        assert f"{width} x {height}" in error.message
        assert "decoded in tiles" in error.message

    run(scenario)


def test_what_the_device_says_is_free_counts_more_than_the_budget() -> None:
    async def scenario() -> None:
        sim = simulate(device_nbytes=80 * 10**9)
        with pytest.raises(InsufficientMemory) as caught:
            await fall_back(sim, lambda *_: OutOfMemory("decode", free_nbytes=2 * 10**8))
        assert caught.value.available_nbytes == 100 + 2 * 10**8
        assert caught.value.largest_size is not None
        width, height = caught.value.largest_size
        assert width * height * 4 < 1024 * 1024 * 4

    run(scenario)


def test_the_error_has_no_cause_and_no_context() -> None:
    async def scenario() -> None:
        with pytest.raises(InsufficientMemory) as caught:
            await fall_back(simulate(), at("encode"))
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None

    run(scenario)


def test_no_fallback_is_tried_for_a_client_that_has_disconnected() -> None:
    async def scenario() -> None:
        sim, job = simulate(), Job(id="1", model=SPEC.name)

        def failing(_request: GenerationRequest, _savings: MemorySavings) -> OutOfMemory:
            job.stop(gone_away())
            return OutOfMemory("decode")

        sim.engine.out_of_memory = failing
        async with sim.pool.lease("a") as lease:
            with pytest.raises(Cancelled):
                await MemoryFallbacks(sim.pool, sim.engine).run(lease, request(), lambda *_: None, check=job.check)
        assert sim.engine.savings_levels == [NO_SAVINGS]

    run(scenario)


def test_a_task_that_is_cancelled_during_a_fallback_returns_its_lease_after_the_engine_has_stopped() -> None:
    async def scenario() -> None:
        sim = simulate()
        sim.engine.out_of_memory = at("decode")
        sim.engine.gate.clear()
        dispatcher = Dispatcher(sim.pool, sim.engine, DispatchPolicy(max_waiting=1), plan=lambda *_: PLAN)
        job = Job(id="1", model=SPEC.name)

        async def resolved(_: ModelSpec) -> tuple[Stage, ...]:
            return (Stage.of(request()),)

        task = asyncio.create_task(dispatcher.run(job, resolved))
        while not sim.engine.savings_levels:  # noqa: ASYNC110 - the engine has no event to wait for
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        sim.engine.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sim.engine.savings_levels == [NO_SAVINGS]
        sim.check_idle()

    run(scenario)


def test_a_small_budget_begins_with_what_it_needs_to_save() -> None:
    async def scenario() -> None:
        sim = simulate(device_nbytes=10**9)
        fallbacks = MemoryFallbacks(sim.pool, sim.engine)
        plan = fallbacks.plan(SPEC, request())
        assert plan.memory_savings == TILED
        assert plan.activation_nbytes + 100 <= 10**9
        async with sim.pool.lease("a", plan.activation_nbytes) as lease:
            attempt = await fallbacks.run(lease, request(), lambda *_: None, attempt=Attempt.of(plan))
        assert attempt.savings == ("tiled_decode",)

    run(scenario)


def test_what_cannot_fit_is_refused_before_anything_is_loaded() -> None:
    sim = simulate(device_nbytes=10**8)
    with pytest.raises(InsufficientMemory) as caught:
        MemoryFallbacks(sim.pool, sim.engine).plan(SPEC, request())
    error = caught.value
    assert error.needed_nbytes > error.available_nbytes == 10**8
    assert error.largest_size is not None
    assert error.savings == ()
    assert MemoryFallbacks(sim.pool, sim.engine).plan(SPEC, request(*error.largest_size))
    assert not sim.engine.loads


def test_a_model_that_does_not_fit_at_all_has_no_largest_size() -> None:
    sim = simulate(device_nbytes=50)
    with pytest.raises(InsufficientMemory) as caught:
        MemoryFallbacks(sim.pool, sim.engine).plan(SPEC, request())
    assert caught.value.largest_size is None
    assert "No smaller size" in caught.value.message


def test_pinned_models_leave_less_to_the_others() -> None:
    async def scenario() -> None:
        sim = simulate(device_nbytes=10**9)
        sim.engine.components["b"] = (replace(sim.engine._parts(model("b"))[0], nbytes=9 * 10**8),)
        await sim.pool.load("b")
        fallbacks = MemoryFallbacks(sim.pool, sim.engine)
        assert fallbacks.plan(SPEC, request()).memory_savings == TILED
        sim.pool.pin("b")
        with pytest.raises(InsufficientMemory) as caught:
            fallbacks.plan(SPEC, request())
        assert caught.value.available_nbytes == 10**8

    run(scenario)


def test_after_a_failure_the_next_request_reserves_more_but_is_not_refused_for_it() -> None:
    async def scenario() -> None:
        sim = simulate(device_nbytes=2 * 10**9)
        fallbacks = MemoryFallbacks(sim.pool, sim.engine)
        before = fallbacks.plan(SPEC, request())
        await fall_back(sim, at("decode", lambda memory_savings: memory_savings.tiled_decode), fallbacks=fallbacks)
        after = fallbacks.plan(SPEC, request())
        assert (before.memory_savings, after.memory_savings) == (NO_SAVINGS, TILED), "the failure would be repeated"
        small = fallbacks.plan(SPEC, request(256, 256))
        assert (
            small.activation_nbytes
            > MemoryFallbacks(sim.pool, sim.engine).plan(SPEC, request(256, 256)).activation_nbytes
        )
        for _ in range(20):
            with pytest.raises(InsufficientMemory):
                await fall_back(sim, at("decode"), fallbacks=fallbacks)
        assert fallbacks.plan(SPEC, request()).activation_nbytes <= 2 * 10**9
        sim.pool.set_budget(Budget())

    run(scenario)


def test_what_a_request_really_needed_is_expected_of_the_next() -> None:
    async def scenario() -> None:
        sim = simulate()
        fallbacks = MemoryFallbacks(sim.pool, sim.engine)
        predicted = fallbacks.plan(SPEC, request()).activation_nbytes
        sim.engine.activation_nbytes = predicted * 2
        await fall_back(sim, at("decode", times=0), fallbacks=fallbacks)
        assert fallbacks.plan(SPEC, request()).activation_nbytes == pytest.approx(predicted * 2)

    run(scenario)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(10**7, 4 * 10**9),
    st.integers(8, 256),
    st.integers(8, 256),
    st.sampled_from(["encode", "denoise", "decode"]),
    st.sampled_from([1.0, 7.5]),
)
def test_the_error_is_never_absurd(
    device_nbytes: int, width: int, height: int, stage: str, guidance_scale: float
) -> None:
    """More is needed than there is; the size that is offered is smaller, of the same shape, and is not refused."""

    async def scenario() -> None:
        asked = request(width * 8, height * 8, guidance_scale)
        sim = simulate(device_nbytes=device_nbytes)
        fallbacks = MemoryFallbacks(sim.pool, sim.engine)
        sim.engine.out_of_memory = at(stage)

        async def attempt() -> None:
            plan = fallbacks.plan(SPEC, asked)
            async with sim.pool.lease("a", plan.activation_nbytes) as lease:
                await fallbacks.run(lease, asked, lambda *_: None, attempt=Attempt.of(plan))

        with pytest.raises(InsufficientMemory) as caught:
            await attempt()
        error = caught.value
        assert error.needed_nbytes > error.available_nbytes
        if error.largest_size is not None:
            assert error.largest_size != (asked.width, asked.height)
            assert all(
                small <= large for small, large in zip(error.largest_size, (asked.width, asked.height), strict=True)
            )
            assert fallbacks.plan(SPEC, request(*error.largest_size, guidance_scale))

    run(scenario)
