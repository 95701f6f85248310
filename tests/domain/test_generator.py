"""The order of a request's life: model usable, checks without files, fetch, resolution, memory plan, queue."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest

from litestar_diffusion.domain.errors import InvalidRequest, QueueFull, UnusableModel
from litestar_diffusion.domain.models.components import OnLoad
from litestar_diffusion.domain.models.spec import HubRepository, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.settings import LimitsSettings, Settings
from litestar_diffusion.testing import FakeCatalogue, FakeEngine, fake_services, model

GUESSED = replace(model("a"), source=HubRepository(repo="some/one"), traits=ModelTraits(size_px=1024), nbytes=None)
FOUND = replace(GUESSED, traits=ModelTraits(size_px=64), nbytes=100)
BODY = GenerationParameters(prompt="x", num_inference_steps=1)


class FetchingEngine(FakeEngine):
    """An engine whose fetch replaces the catalogue entry: the files differ from what the name suggested."""

    def watch(self, catalogue: FakeCatalogue) -> None:
        self.catalogue, self.arrived = catalogue, asyncio.Event()

    async def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        await self.arrived.wait()
        self.catalogue.put(FOUND)
        await super().fetch(spec, on_load)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    asyncio.run(bounded())


async def rounds(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_request_is_resolved_after_its_files_were_fetched() -> None:
    async def scenario() -> None:
        engine = FetchingEngine()
        services = fake_services(GUESSED, engine=engine)
        engine.watch(services.catalogue)
        engine.arrived.set()
        first = await services.generator.generate("a", msgspec.structs.replace(BODY, seed=5))
        second = await services.generator.generate("a", msgspec.structs.replace(BODY, seed=5))
        assert first.request == second.request
        assert (first.request.width, first.request.height) == (64, 64)

    run(scenario)


def test_an_unusable_model_is_refused_before_anything_is_fetched() -> None:
    async def scenario() -> None:
        services = fake_services(replace(model("a"), unusable="it is a LoRA"), engine=(engine := FakeEngine()))
        with pytest.raises(UnusableModel, match="it is a LoRA"):
            await services.generator.generate("a", BODY)
        with pytest.raises(UnusableModel):
            await services.dry_runs.run("a", BODY)
        assert engine.loads == []

    run(scenario)


def test_what_can_be_checked_without_files_is_refused_before_the_fetch() -> None:
    async def scenario() -> None:
        engine = FetchingEngine()
        services = fake_services(GUESSED, engine=engine)
        engine.watch(services.catalogue)  # nothing arrives: a fetch would never end
        with pytest.raises(InvalidRequest, match="width"):
            await services.generator.generate("a", msgspec.structs.replace(BODY, width=60))

    run(scenario)


def test_defaults_of_the_model_that_break_a_limit_are_refused_after_the_fetch() -> None:
    async def scenario() -> None:
        engine = FetchingEngine()
        services = fake_services(GUESSED, settings=Settings(limits=LimitsSettings(min_side_px=96)), engine=engine)
        engine.watch(services.catalogue)
        engine.arrived.set()
        with pytest.raises(InvalidRequest, match="width"):
            await services.generator.generate("a", BODY)
        assert services.dispatcher.depth == 0

    run(scenario)


def test_a_request_whose_files_are_being_fetched_counts_as_waiting_and_delays_no_other() -> None:
    async def scenario() -> None:
        engine = FetchingEngine()
        limits = LimitsSettings(max_waiting=1)
        services = fake_services(GUESSED, model("b"), settings=Settings(limits=limits), engine=engine)
        engine.watch(services.catalogue)
        fetching = [asyncio.create_task(services.generator.generate("a", BODY)) for _ in range(2)]
        await rounds()
        assert services.dispatcher.waiting_by_model()["a"] == 2
        with pytest.raises(QueueFull):
            await services.generator.generate("b", BODY)
        fetching.pop().cancel()
        await rounds()
        assert (await services.generator.generate("b", BODY)).images
        engine.arrived.set()
        assert (await fetching[0]).images

    run(scenario)


def test_the_wait_for_the_start_of_the_engine_is_a_phase_of_its_own() -> None:
    class SlowToStart(FakeEngine):
        now_s = 0.0

        async def start(self) -> None:
            self.now_s = 7.0
            await super().start()

    async def scenario() -> None:
        services = fake_services(model("a"), engine=(engine := SlowToStart()))
        services.devices.first.dispatcher._clock = lambda: engine.now_s
        first = await services.generator.generate("a", BODY)
        second = await services.generator.generate("a", BODY)
        assert (first.timings.start_s, second.timings.start_s) == (7.0, 0.0)
        assert first.timings.load_s < 7.0
        assert first.timings.queue_s < 7.0

    run(scenario)
