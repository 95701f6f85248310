"""Requests of two passes, on a simulated engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.errors import FieldError, InsufficientMemory
from litestar_diffusion.domain.families.upscaler.networks import UpscalerNetwork
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.early_end import EarlyEnd
from litestar_diffusion.domain.requests.hires import MAX_SCHEDULE, Hires, schedule_steps
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.pictures.source import FromLatents, FromPictures
from litestar_diffusion.domain.requests.progress import Progress, StepProgress
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.broken_limits import broken_limits
from litestar_diffusion.domain.requests.upscaling.upscale_request import UpscaleRequest
from litestar_diffusion.lifecycle import Services
from litestar_diffusion.settings import ModelsSettings, Settings
from litestar_diffusion.testing import FakeCatalogue, FakeEngine, FakeInspector, fake_catalogues, model

UPSCALER = ModelSpec(
    name=ModelName("x2"),
    source=Checkpoint(path=Path("x2.safetensors")),
    traits=ModelTraits(family="upscaler"),
    nbytes=100,
    version="1",
    networks=UpscalerNetwork(architecture="Compact", scale=2, features=8, layers=2),
)


def services(engine: FakeEngine) -> Services:
    return build(
        Settings(models=ModelsSettings(default=None)),
        engine=engine,
        catalogues=fake_catalogues(FakeCatalogue([model("demo"), model("other")]), upscalers=[UPSCALER]),
        inspector=FakeInspector(),
    )


@asynccontextmanager
async def working(parts: Services) -> AsyncIterator[None]:
    """The services without what a lifespan does in the background, which would set the budget of the settings."""
    yield
    await parts.end()
    await parts.pool.close()


def asked(upscaler: str = "x2", **fields: object) -> GenerationParameters:
    hires = Hires(scale=2, steps=2, upscaler=upscaler)
    return GenerationParameters(prompt="a", num_inference_steps=3, seed=1, hires=hires, **fields)  # pyright: ignore[reportArgumentType]


def refused(hires: Hires, spec: ModelSpec | None = None, **fields: Any) -> list[FieldError]:
    parameters = GenerationParameters(prompt="a", hires=hires, **fields)
    return broken_limits(parameters, spec or model("demo"), Limits())


@given(st.integers(1, 150), st.floats(0.2, 1))
def test_a_schedule_is_the_shortest_of_which_exactly_the_wanted_steps_are_taken(steps: int, strength: float) -> None:
    length = schedule_steps(steps, strength)
    assert min(int(length * strength), length) == steps
    assert length == steps or int((length - 1) * strength) < steps


@pytest.mark.parametrize("strength", [6e-161, 5e-324, 0.0289])
def test_a_strength_that_no_schedule_reaches_is_refused_with_the_least_one(strength: float) -> None:
    (error,) = refused(Hires(strength=strength), num_inference_steps=29)
    assert error.field == "hires.strength"
    assert "use at least 0.029," in error.message
    assert refused(Hires(strength=0.029), num_inference_steps=29) == []


@given(st.integers(1, MAX_SCHEDULE))
def test_the_least_strength_of_the_advice_is_enough(steps: int) -> None:
    assert schedule_steps(steps, float(f"{steps / MAX_SCHEDULE:.3g}")) <= MAX_SCHEDULE


@pytest.mark.parametrize(
    ("sampler", "hires", "field"),
    [
        ("ddim", Hires(schedule="karras"), "hires.schedule"),
        ("euler", Hires(sampler="ddim", schedule="karras"), "hires.schedule"),
        ("euler", Hires(sampler="nothing", schedule="karras"), "hires.sampler"),
        ("nothing", Hires(schedule="karras"), "sampler"),
        ("euler_karras", Hires(schedule="model", discard_penultimate_sigma=True), "hires.discard_penultimate_sigma"),
    ],
)
@pytest.mark.parametrize("on_disk", [True, False])
def test_a_schedule_that_the_sampler_of_the_second_pass_cannot_do_is_refused(
    sampler: str, hires: Hires, field: str, on_disk: bool
) -> None:
    errors = refused(hires, replace(model("demo"), nbytes=100 if on_disk else None), sampler=sampler)
    assert [error.field for error in errors] == [field]


def test_the_passes_follow_each_other_and_their_steps_are_counted_together() -> None:
    async def scenario() -> None:
        engine, seen = FakeEngine(), list[Progress]()
        parts = services(engine)
        async with working(parts):
            made = await parts.generator.generate("demo", asked(n=2), on_progress=seen.append)
        first, between, second = engine.requests
        assert isinstance(first, GenerationRequest)
        assert isinstance(between, UpscaleRequest)
        assert isinstance(second, GenerationRequest)
        assert (first.becomes, second.becomes) == ("pictures", "images")
        assert isinstance(second.source, FromPictures)
        assert [(picture.width, picture.height) for picture in second.source.pictures] == [(128, 128)] * 2
        assert first.seeds == second.seeds == (1, 2)
        assert (second.denoising_steps, second.size_conditioning.original_size) == (2, (128, 128))
        assert [(image.width, image.seed) for image in made.images] == [(128, 1), (128, 2)]
        counted = [(each.done, each.total) for each in seen if isinstance(each, StepProgress)]
        assert counted == sorted(counted)
        assert counted[-1][0] == counted[-1][1]

    asyncio.run(scenario())


def test_both_passes_are_work() -> None:
    async def scenario() -> None:
        parts = services(FakeEngine())
        async with working(parts):
            work = await parts.generator.work("demo", asked(n=2))
        assert work.megapixel_steps == 2 * (64 * 64 * 3 + 128 * 128 * 2) / 1e6

    asyncio.run(scenario())


def test_latents_go_from_pass_to_pass_without_an_upscaler() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        parts = services(engine)
        async with working(parts):
            await parts.generator.generate("demo", asked("latent-nearest"))
        first, second = engine.requests
        assert isinstance(first, GenerationRequest)
        assert isinstance(second, GenerationRequest)
        assert first.becomes == "latents"
        assert isinstance(second.source, FromLatents)

    asyncio.run(scenario())


def test_a_stopped_request_ends_between_two_passes_and_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        parts = services(engine)
        async with working(parts):
            beyond = asyncio.Event()

            def note(progress: Progress) -> None:
                if isinstance(progress, StepProgress) and progress.done > 3:
                    beyond.set()

            tasks = [asyncio.create_task(parts.generator.generate("demo", asked(), on_progress=note)) for _ in range(3)]
            await beyond.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            assert parts.dispatcher.depth == 0
            assert parts.pool.stats().leases == 0
            parts.pool.check_integrity()
            await parts.generator.generate("demo", asked())

    asyncio.run(scenario())


def test_requests_of_two_passes_never_block_each_other_for_memory() -> None:
    """The budget has room for one model or the upscaler at a time, and several requests need both."""

    async def scenario() -> None:
        engine = FakeEngine()
        parts = services(engine)
        async with working(parts):
            largest = parts.devices.first.dispatcher.plan
            specs = {name: parts.catalogues.models.get(name) for name in ("demo", "other")}
            request = (await parts.dry_runs.run("demo", asked())).request
            needed = largest(specs["demo"], replace(request, width=128, height=128, hires=None)).activation_nbytes
            parts.devices.first.pool.set_budget(Budget(device_nbytes=needed + 150, host_nbytes=10**12))
            names = ("demo", "other") * 3
            made = await asyncio.wait_for(
                asyncio.gather(*(parts.generator.generate(name, asked(), client=name) for name in names)), 30
            )
            assert len(made) == 6
            parts.pool.check_integrity()

    asyncio.run(scenario())


def test_what_does_not_fit_into_memory_is_refused_before_the_first_pass() -> None:
    async def scenario() -> None:
        engine = FakeEngine()
        parts = services(engine)
        async with working(parts):
            large = msgspec.structs.replace(asked(), width=256, height=256, hires=Hires(scale=8, upscaler="lanczos"))
            request = (await parts.dry_runs.run("demo", large)).request
            first = parts.devices.first.dispatcher.plan(
                parts.catalogues.models.get("demo"), replace(request, hires=None)
            )
            parts.devices.first.pool.set_budget(Budget(device_nbytes=first.activation_nbytes + 150, host_nbytes=10**12))
            with pytest.raises(InsufficientMemory):
                await parts.generator.generate("demo", large)
            assert not engine.requests

    asyncio.run(scenario())


def test_an_interrupted_first_pass_still_becomes_a_picture_of_the_wanted_size() -> None:
    async def scenario() -> None:
        engine, early_end = FakeEngine(), EarlyEnd()
        parts = services(engine)

        def note(progress: Progress) -> None:
            if isinstance(progress, StepProgress) and progress.done == 1:
                early_end.ask("request")

        async with working(parts):
            made = await parts.generator.generate("demo", asked(), on_progress=note, early_end=early_end)
        assert [(image.width, image.unfinished) for image in made.images] == [(128, True)]
        assert any("is unfinished" in warning for warning in made.warnings)

    asyncio.run(scenario())
