"""Public fakes: an engine without torch and a catalogue without files, for our tests and for yours.

    services = fake_services(model("demo"), model("other"))
    app = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(build=lambda settings: services))])

The fake engine makes pictures of one colour that depends on the seed, in no time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .bootstrap import Services
from .domain.budget import Budget
from .domain.dispatch import Dispatcher
from .domain.errors import UnknownModel
from .domain.generation import GenerationRequest, Limits
from .domain.generator import ImageGenerator
from .domain.model import Checkpoint, ModelName, ModelSpec, ModelTraits
from .domain.pool import ModelPool
from .domain.ports import LoadedModel, LoadProgress, OnLoad, OnStep, RawImage, Rendered
from .infra.images import PillowImageWriter
from .infra.metrics import Metrics
from .settings import Settings


def model(name: str, *, nbytes: int = 100, traits: ModelTraits | None = None) -> ModelSpec:
    """A catalogue entry of a model that only a fake engine can load."""
    return ModelSpec(
        name=ModelName(name),
        source=Checkpoint(path=Path(f"{name}.safetensors")),
        traits=traits or ModelTraits(size_px=64),
        nbytes=nbytes,
        version="1",
    )


class FakeCatalogue:
    """Fulfils the `Catalogue` port with entries from memory; replace them to play a change on disk."""

    def __init__(self, specs: Sequence[ModelSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}

    def list(self) -> Sequence[ModelSpec]:
        """Every entry, in alphabetical order."""
        return [self._specs[name] for name in sorted(self._specs)]

    def get(self, name: str) -> ModelSpec:
        """The entry of this name; UnknownModel where there is none."""
        if name not in self._specs:
            raise UnknownModel(name, sorted(self._specs))
        return self._specs[ModelName(name)]

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember the reason."""
        if self._specs[name].version == version:
            self.put(replace(self._specs[name], unusable=reason))

    def put(self, spec: ModelSpec) -> None:
        """Add or replace an entry."""
        self._specs[spec.name] = spec


@dataclass(slots=True)
class FakeModel:
    """What the fake engine loads."""

    spec: ModelSpec
    nbytes: int
    on_device: bool = False


@dataclass(slots=True)
class FakeEngine:
    """Fulfils the `Engine` port without torch.

    Fill `failures` to make the next call of a method raise; hold `gate` to keep generations waiting.
    """

    device: str = "cpu"
    shares_host_memory: bool = False
    loads: list[str] = field(default_factory=list[str])
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    device_nbytes: int = 0
    """Bytes that are on the device now, as the device itself would count them."""
    peak_nbytes: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def memory_nbytes(self) -> int:
        """As much as anybody wants."""
        return 2**40

    def element_nbytes(self, spec: ModelSpec) -> int:  # noqa: ARG002 - the port's signature
        """As for float16."""
        return 2

    async def start(self) -> None:
        """Nothing to import."""

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Take note of the load."""
        self.loads.append(spec.name)
        on_load(LoadProgress(phase="read", done_nbytes=0, total_nbytes=spec.nbytes or 0))
        await asyncio.sleep(0)
        self._fail("load")
        return FakeModel(spec, spec.nbytes or 0)

    async def place(self, model: LoadedModel) -> None:
        """Count the bytes."""
        await asyncio.sleep(0)
        self._fail("place")
        self._own(model).on_device = True
        self.device_nbytes += model.nbytes
        self.peak_nbytes = max(self.peak_nbytes, self.device_nbytes)

    async def offload(self, model: LoadedModel) -> None:
        """Count the bytes off."""
        await asyncio.sleep(0)
        self._leave_device(self._own(model))

    async def unload(self, model: LoadedModel) -> None:
        """Count the bytes off."""
        await asyncio.sleep(0)
        self._leave_device(self._own(model))

    async def generate(self, model: LoadedModel, request: GenerationRequest, on_step: OnStep) -> Rendered:
        """Pictures of one colour each; a step each time the loop comes round."""
        assert self._own(model).on_device, "a model was used that is not on the device"
        for step in range(request.num_inference_steps):
            await self.gate.wait()
            on_step(step, request.num_inference_steps)
            await asyncio.sleep(0)
        self._fail("generate")
        images = tuple(_plain(request, seed) for seed in request.seeds)
        return Rendered(images=images, warnings=(), encode_s=0, denoise_s=0, decode_s=0)

    async def stop(self) -> None:
        """Nothing to end."""

    def _fail(self, method: str) -> None:
        if (failure := self.failures.pop(method, None)) is not None:
            raise failure

    def _leave_device(self, model: FakeModel) -> None:
        if model.on_device:
            model.on_device = False
            self.device_nbytes -= model.nbytes

    def _own(self, model: LoadedModel) -> FakeModel:
        assert isinstance(model, FakeModel)
        return model


def fake_services(*specs: ModelSpec, settings: Settings | None = None, engine: FakeEngine | None = None) -> Services:
    """Services around a fake engine and the given entries; everything else is real."""
    settings = settings or Settings()
    engine = engine or FakeEngine()
    catalogue = FakeCatalogue(specs)
    metrics = Metrics()
    pool = ModelPool(catalogue, engine, Budget(), on_event=metrics.on_event)
    dispatcher = Dispatcher(pool, engine, max_waiting=settings.limits.max_waiting)
    generator = ImageGenerator(
        catalogue, dispatcher, engine, PillowImageWriter(), Limits(), on_generated=metrics.on_generated
    )
    metrics.watch(pool, dispatcher)
    return Services(
        settings=settings,
        catalogue=catalogue,
        engine=engine,
        pool=pool,
        dispatcher=dispatcher,
        generator=generator,
        metrics=metrics,
    )


def _plain(request: GenerationRequest, seed: int) -> RawImage:
    pixel = bytes((seed % 256, seed // 256 % 256, seed // 65536 % 256))
    return RawImage(width=request.width, height=request.height, pixels=pixel * (request.width * request.height))
