"""Public fakes: an engine without torch and a catalogue without files, for our tests and for yours.

    def build(settings: Settings) -> Services:
        return fake_services(model("demo"), model("other"), settings=settings)

    app = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(build=build))])

Or, for an application that exists already: `with faked(app, model("demo")) as engine: ...`.

The fake engine makes pictures of one colour that depends on the seed, in no time.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from litestar import Litestar

from .bootstrap import build
from .domain.dispatch.lanes import lane_of
from .domain.errors import (
    DeviceLost,
    DiffusionError,
    OutOfMemory,
    UnknownAdapter,
    UnknownAsset,
    UnknownModel,
    UnknownVae,
)
from .domain.likely_name import matching_name
from .domain.models.adapters import AdapterName, AdapterReading, AdapterSpec
from .domain.models.aliases import Aliases
from .domain.models.assets import AssetSpec
from .domain.models.catalogue import Catalogue, Catalogues
from .domain.models.components import Component, ComponentId, LoadedModel, LoadProgress, OnLoad
from .domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from .domain.models.vaes import VaeName, VaeReading, VaeSpec
from .domain.requests.inspection import Inspection, PromptFacts, SamplerFacts, TextFacts
from .domain.requests.render_request import RenderRequest
from .domain.requests.rendering import (
    NO_SAVINGS,
    GiveWay,
    MemorySavings,
    OnPreview,
    OnStep,
    ParkedRun,
    RawImage,
    RenderResult,
    stay,
)
from .domain.requests.request import GenerationRequest
from .domain.requests.upscaling.upscale_request import UpscaleRequest
from .lifecycle import Services
from .plugin import DiffusionPlugin
from .policies import model_aliases
from .settings import ModelsSettings, Settings


def model(name: str, *, nbytes: int = 100, traits: ModelTraits | None = None) -> ModelSpec:
    """Make the catalogue entry of a model that only a fake engine can load."""
    return ModelSpec(
        name=ModelName(name),
        source=Checkpoint(path=Path(f"{name}.safetensors")),
        traits=traits or ModelTraits(size_px=64),
        nbytes=nbytes,
        version="1",
    )


class FakeCatalogue:
    """Fulfils the `Catalogue` port with entries from memory; replace them to play a change on disk."""

    def __init__(self, specs: Sequence[ModelSpec], aliases: Aliases | None = None) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._aliases = aliases or Aliases()

    async def list(self) -> Sequence[ModelSpec]:
        """List every entry, in alphabetical order."""
        return [self.get(name) for name in sorted(self._specs)]

    async def refresh(self) -> Sequence[ModelSpec]:
        """List every entry, in alphabetical order."""
        return await self.list()

    async def find(self, name: str, *, changed: bool = False) -> ModelSpec:  # noqa: ARG002 - the port's signature
        """Return the entry of this name or alias; raises UnknownModel if there is none."""
        return self.get(name)

    def get(self, name: str) -> ModelSpec:
        """Return the entry of this name or alias; raises UnknownModel if there is none."""
        _, *chain = self._aliases.chain(name, self._specs)
        spec = self._specs.get(ModelName(chain[-1] if chain else name))
        if spec is None:
            raise UnknownModel(name, sorted(self._specs), chain=chain)
        aliases = self._aliases.resolved(self._specs).items()
        return replace(spec, aliases=tuple(alias for alias, model in aliases if model == spec.name))

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember the reason."""
        if self._specs[name].version == version:
            self.put(replace(self._specs[name], unusable=reason))

    def put(self, spec: ModelSpec) -> None:
        """Add or replace an entry."""
        self._specs[spec.name] = spec


def adapter(name: str, *, nbytes: int = 10, family: str = "sdxl", components: Sequence[str] = ("unet",)) -> AdapterSpec:
    """Make the catalogue entry of an adapter that only a fake engine can load."""
    reading = AdapterReading(
        family=family, format="kohya", algorithms=("lora",), components=tuple(components), layers=1, ranks=(4,)
    )
    return AdapterSpec(
        name=AdapterName(name), path=Path(f"{name}.safetensors"), nbytes=nbytes, version="1", reading=reading
    )


def vae(name: str, *, nbytes: int = 10, family: str = "sdxl") -> VaeSpec:
    """Make the catalogue entry of a VAE that only a fake engine can load."""
    reading = VaeReading(family=family)
    return VaeSpec(name=VaeName(name), path=Path(f"{name}.safetensors"), nbytes=nbytes, version="1", reading=reading)


_Addition = TypeVar("_Addition", AdapterSpec, VaeSpec)


class FakeAdditions(Generic[_Addition]):
    """Fulfils the `AdditionCatalogue` port with entries from memory; replace them to play a change on disk."""

    def __init__(self, specs: Sequence[_Addition], unknown: type[UnknownAsset]) -> None:
        """Hold entries; `unknown` is the error for a name that none has."""
        self._specs: dict[str, _Addition] = {spec.name: spec for spec in specs}
        self._unknown = unknown

    async def list(self) -> Sequence[_Addition]:
        """List every entry, in alphabetical order."""
        return self.snapshot()

    def snapshot(self) -> Sequence[_Addition]:
        """List every entry, in alphabetical order."""
        return [self._specs[name] for name in sorted(self._specs)]

    async def refresh(self) -> Sequence[_Addition]:
        """List every entry, in alphabetical order."""
        return await self.list()

    async def find(self, name: str) -> _Addition:
        """Return the entry of this name; raises UnknownAsset if there is none."""
        return self.get(name)

    def get(self, name: str) -> _Addition:
        """Return the entry of this name; raises UnknownAsset if there is none."""
        known = matching_name(name, self._specs)
        if known is None:
            usable = sorted(name for name, spec in self._specs.items() if spec.unusable is None)
            raise self._unknown(name, usable)
        return self._specs[known]

    def mark_unusable(self, name: str, version: str, reason: str) -> None:
        """Remember the reason."""
        if self._specs[name].version == version:
            self.put(replace(self._specs[name], unusable=reason))

    def put(self, spec: _Addition) -> None:
        """Add or replace an entry."""
        self._specs[spec.name] = spec


def fake_catalogues(
    models: Catalogue,
    adapters: Sequence[AdapterSpec] = (),
    vaes: Sequence[VaeSpec] = (),
    upscalers: Sequence[ModelSpec] = (),
) -> Catalogues:
    """Put a catalogue of models beside fakes of adapters, VAEs and upscalers."""
    return Catalogues(
        models=models,
        adapters=FakeAdditions(adapters, UnknownAdapter),
        vaes=FakeAdditions(vaes, UnknownVae),
        upscalers=FakeCatalogue(upscalers),
    )


def component(key: str, nbytes: int, name: str = "unet") -> Component:
    """Make a component for `FakeEngine.components`; equal keys stand for equal weights."""
    return Component(id=ComponentId(key), name=name, nbytes=nbytes, dtype="float16")


@dataclass(slots=True, eq=False)
class FakeModel:
    """What the fake engine loads."""

    spec: AssetSpec
    components: tuple[Component, ...]
    loaded: bool = True


def _never(_request: RenderRequest, _frugality: MemorySavings) -> None:
    """There is always enough memory."""


@dataclass(slots=True, kw_only=True)
class FakeEngine:
    """Fulfils `Engine` and its three ports without torch. Counts bytes itself, so that the ledger can be compared with it."""

    name: str = "fake"
    shares_host_memory: bool = False
    components: dict[str, tuple[Component, ...]] = field(default_factory=dict[str, tuple[Component, ...]])
    """Components of each model by its name; a model without an entry has one of its own size."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Generation waits while it is clear."""
    step_s: Callable[[RenderRequest], float] = lambda _request: 0.0
    """Seconds of each step of a request."""
    decode_s: Callable[[RenderRequest], float] = lambda _request: 0.0
    """Seconds of decoding each image of a request; it may give way before each."""
    load_s: float = 0.0
    """Seconds of each load."""
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])
    """The next call of a method (`fetch`, `load`, `load_adapter`, `load_vae`, `place`, `generate`) raises this, once."""
    lost: DeviceLost | None = None
    """Why the device is lost: from now on nothing can be placed or made on it."""
    out_of_memory: Callable[[RenderRequest, MemorySavings], OutOfMemory | None] = _never
    """Stage in which each generation runs out of memory: `encode`, `denoise`, `decode`; None if it does not."""
    savings_levels: list[MemorySavings] = field(default_factory=list[MemorySavings])
    """Memory savings of each generation, in order."""
    requests: list[RenderRequest] = field(default_factory=list[RenderRequest])
    """Request of each generation, in order."""
    running: list[RenderRequest] = field(default_factory=list[RenderRequest])
    """Requests that are running now."""
    most_together: int = 0
    """Largest number of requests that ran at the same time."""
    activation_nbytes: int | None = None
    """The peak that generations tell of."""
    loads: list[str] = field(default_factory=list[str])
    """Names of the models that were read, in order."""
    moved_nbytes: int = 0
    """Copied to the device so far."""
    models: list[FakeModel] = field(default_factory=list[FakeModel])
    placed: dict[ComponentId, int] = field(default_factory=dict[ComponentId, int])
    """Bytes of each component on the device."""
    peak_nbytes: int = 0
    """The most that was ever on the device."""
    beside: "FakeEngine | None" = None
    """Engine of the machine's first device, which loads for this one too; None for the first. See `fake_machine`."""
    others: list["FakeEngine"] = field(default_factory=list["FakeEngine"])
    """Engines of the machine's other devices, which this one loads for."""

    def __post_init__(self) -> None:
        """Let generations run."""
        self.gate.set()
        if self.beside is not None:
            self.models = self.beside.models
            self.beside.others.append(self)

    @property
    def loader(self) -> "FakeEngine":
        """The engine of the machine's first device, as a `ModelLoader`."""
        return self.beside or self

    @property
    def device(self) -> "FakeEngine":
        """Itself, as a `Device`."""
        return self

    @property
    def renderer(self) -> "FakeEngine":
        """Itself, as a `Renderer`."""
        return self

    @property
    def host_nbytes(self) -> int:
        """Bytes of weights in host memory, shared ones once."""
        return sum({part.id: part.nbytes for model in self.models for part in model.components}.values())

    @property
    def device_nbytes(self) -> int:
        """Bytes of weights on the device."""
        return self.host_nbytes if self.shares_host_memory else sum(self.placed.values())

    def is_on_device(self, model: LoadedModel) -> bool:
        """Tell whether a model could run now."""
        there = all(part.id in self.placed for part in model.components)
        return self._own(model).loaded and (there or self.shares_host_memory)

    def memory_nbytes(self) -> int:
        """Return a size beyond every need."""
        return 2**40

    def element_nbytes(self, spec: ModelSpec) -> int:  # noqa: ARG002 - the port's signature
        """Return 2, as for float16."""
        return 2

    def weights_nbytes(self, spec: AssetSpec) -> int:
        """Add up the components."""
        return sum(part.nbytes for part in self._parts(spec))

    @property
    def failure(self) -> DiffusionError | None:
        """None: it starts at once, and works until a test sets `lost`."""
        return self.lost

    async def start(self) -> None:
        """Nothing to import."""

    async def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Do nothing: every model counts as downloaded."""
        await asyncio.sleep(0)
        self._fail("fetch")
        on_load(LoadProgress(phase="download", done_nbytes=spec.nbytes or 0, total_nbytes=spec.nbytes or 0))

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Take note of the load."""
        self.loads.append(spec.name)
        on_load(LoadProgress(phase="read", done_nbytes=0, total_nbytes=spec.nbytes or 0))
        await asyncio.sleep(self.load_s)
        self._fail("load")
        model = FakeModel(spec, self._parts(spec))
        self.models.append(model)
        self._note_peak()
        return model

    async def load_adapter(self, spec: AdapterSpec, on_load: OnLoad) -> LoadedModel:
        """Take note of the load."""
        return await self._load_addition(spec, on_load, "load_adapter")

    async def load_vae(self, spec: VaeSpec, on_load: OnLoad) -> LoadedModel:
        """Take note of the load."""
        return await self._load_addition(spec, on_load, "load_vae")

    async def _load_addition(self, spec: AdapterSpec | VaeSpec, on_load: OnLoad, method: str) -> LoadedModel:
        self.loads.append(spec.name)
        on_load(LoadProgress(phase="read", done_nbytes=0, total_nbytes=spec.nbytes))
        await asyncio.sleep(0)
        self._fail(method)
        loaded = FakeModel(spec, self._parts(spec))
        self.models.append(loaded)
        self._note_peak()
        return loaded

    async def place(self, components: Collection[ComponentId]) -> None:
        """Count the bytes."""
        await asyncio.sleep(0)
        self._fail_if_lost()
        self._fail("place")
        known = {part.id: part.nbytes for model in self.models for part in model.components}
        self.moved_nbytes += sum(known[key] for key in components if key not in self.placed)
        self.placed.update({key: known[key] for key in components})
        self._note_peak()

    async def offload(self, components: Collection[ComponentId]) -> None:
        """Count the bytes off."""
        await asyncio.sleep(0)
        for key in components:
            self.placed.pop(key, None)

    async def unload(self, model: LoadedModel, *, reuse: bool = False) -> None:  # noqa: ARG002 - the port's signature
        """Count the bytes off that no other model shares."""
        await asyncio.sleep(0)
        self._own(model).loaded = False
        self.models.remove(self._own(model))
        left = {part.id for other in self.models for part in other.components}
        for engine in (self, *self.others):
            engine.placed = {key: nbytes for key, nbytes in engine.placed.items() if key in left}

    async def generate(
        self,
        model: LoadedModel,
        request: RenderRequest,
        on_step: OnStep,
        memory_savings: MemorySavings = NO_SAVINGS,
        at_once: int = 1,  # noqa: ARG002 - the port's signature
        on_preview: OnPreview | None = None,
        adapters: Sequence[LoadedModel] = (),
        vae: LoadedModel | None = None,
        give_way: GiveWay = stay,
        parked: ParkedRun | None = None,
    ) -> RenderResult | ParkedRun:
        """Make pictures of one colour each, all of a request together, one step for each turn of the event loop."""
        for used in (model, *adapters, *([vae] if vae is not None else [])):
            assert self.is_on_device(used), "an asset was used that is not on the device"
        assert [self._own(used).spec.name for used in adapters] == [use.name for use in request.assets.adapters]
        self.savings_levels.append(memory_savings)
        self.requests.append(request)
        self.running.append(request)
        assert len({lane_of(mate) for mate in self.running}) == 1, "requests that cannot share a step ran together"
        assert len(self.running) == 1 or not any(mate.reproducible for mate in self.running), "one had to run alone"
        self.most_together = max(self.most_together, len(self.running))
        try:
            steps = request.steps if isinstance(request, UpscaleRequest) else request.num_inference_steps
            parts = steps + (request.count if self.decode_s(request) else 0)
            first = 0 if parked is None else parked.state
            assert isinstance(first, int)
            on_step(min(first, steps), steps)
            unfinished = frozenset[int]()
            for part in range(first + 1, parts + 1):
                await self.gate.wait()
                self._fail_if_lost()
                done = min(part, steps)
                if part <= steps:
                    await asyncio.sleep(self.step_s(request))
                    ending = on_step(done, steps)
                else:  # reported before it, as the real engine does
                    ending = on_step(done, steps)
                    await asyncio.sleep(self.decode_s(request))
                if on_preview is not None:
                    on_preview(_pictures(request)[0], done, steps)
                if ending is not None and done < steps and isinstance(request, GenerationRequest):
                    unfinished = frozenset(range(request.count))
                    break
                if give_way() and part < parts:
                    return ParkedRun(state=part)
            self._fail("generate")
        finally:
            self.running.remove(request)
        if (failure := self.out_of_memory(request, memory_savings)) is not None:
            raise failure
        return RenderResult(
            images=_pictures(request),
            warnings=(),
            unfinished=unfinished,
            encode_s=0,
            denoise_s=self.step_s(request) * steps,
            decode_s=self.decode_s(request) * request.count,
            activation_nbytes=self.activation_nbytes,
        )

    async def stop(self) -> None:
        """Nothing to end."""

    def _parts(self, spec: AssetSpec) -> tuple[Component, ...]:
        return self.components.get(spec.name) or (component(f"{spec.name}@{spec.version}", spec.nbytes or 0),)

    def _fail_if_lost(self) -> None:
        if self.lost is not None:
            raise self.lost.with_traceback(None)

    def _fail(self, method: str) -> None:
        if (failure := self.failures.pop(method, None)) is not None:
            raise failure

    def _note_peak(self) -> None:
        self.peak_nbytes = max(self.peak_nbytes, self.device_nbytes)

    def _own(self, model: LoadedModel) -> FakeModel:
        assert isinstance(model, FakeModel)
        return model


def fake_machine(*names: str, **options: Any) -> list[FakeEngine]:
    """Make an engine for each device of a machine, the first of which loads for all.

    Args:
        names: of the devices.
        options: fields of each engine.
    """
    first = FakeEngine(name=names[0], **options)
    return [first, *(FakeEngine(name=name, beside=first, **options) for name in names[1:])]


class FakeInspector:
    """Fulfils the `Inspector` port: every word is a token."""

    async def inspect(self, spec: ModelSpec, request: GenerationRequest) -> Inspection:
        """Count words."""
        words, last_step = len(request.prompt.split()), request.denoising_steps
        text = TextFacts(
            text=request.prompt, part=1, weight=1.0, first_step=1, last_step=last_step, tokens=words, chunks=1
        )
        prompt = PromptFacts(field="prompt", tokens=words, chunks=1, ignored=(), schedule=(text,))
        steps = range(request.num_inference_steps, 0, -1)
        sampler = SamplerFacts(scheduler="Fake", config={}, timesteps=tuple(float(step) for step in steps), sigmas=None)
        return Inspection(prompts=(prompt,), sampler=sampler, traits=spec.traits, warnings=())


def fake_services(
    *specs: ModelSpec,
    settings: Settings | None = None,
    engine: FakeEngine | Sequence[FakeEngine] | None = None,
    adapters: Sequence[AdapterSpec] = (),
    vaes: Sequence[VaeSpec] = (),
) -> Services:
    """Build services around a fake engine and the given entries; everything else is real. Each lifespan needs its own.

    Args:
        specs: entries of the catalogue; one named `demo` if there are none.
        settings: of all parts. If no entry is named as the usual default model, the first entry is the default, so that the
            services become ready.
        engine: to look at, and to let fail, or one for each device (see `fake_machine`); a new one if absent.
        adapters: entries of the catalogue of adapters.
        vaes: entries of the catalogue of VAEs.
    """
    specs = specs or (model("demo"),)
    settings = _with_default(settings or Settings(), specs)
    return build(
        settings,
        engine=engine or FakeEngine(),
        catalogues=fake_catalogues(FakeCatalogue(specs, model_aliases(settings)), adapters, vaes),
        inspector=FakeInspector(),
    )


@contextmanager
def faked(app: Litestar, *specs: ModelSpec, engine: FakeEngine | None = None) -> Iterator[FakeEngine]:
    """Replace the engine and models of an application's plugins until the block ends; start the application inside it.

    Settings, limits included, stay those of each plugin. A context manager and no pytest plugin, because an entry point of
    pytest would import this package in every test run of the environment, also of applications that do not want it.

    Args:
        app: has one `DiffusionPlugin` or several.
        specs: entries of the catalogue; one named `demo` if there are none.
        engine: to let fail or wait; a new one if absent.
    """
    used = engine or FakeEngine()

    def fakes(settings: Settings) -> Services:
        return fake_services(*specs, settings=settings, engine=used)

    configs = [plugin.config for plugin in app.plugins if isinstance(plugin, DiffusionPlugin)]
    before = [config.build for config in configs]
    for config in configs:
        config.build = fakes
    try:
        yield used
    finally:
        for config, real in zip(configs, before, strict=True):
            config.build = real


def _with_default(settings: Settings, specs: Sequence[ModelSpec]) -> Settings:
    """Replace the default model of default settings by the first entry, unless there is an entry of that name."""
    stated = settings.models.default
    if stated != ModelsSettings().default or any(spec.name == stated for spec in specs):
        return settings
    return msgspec.structs.replace(settings, models=msgspec.structs.replace(settings.models, default=specs[0].name))


def _pictures(request: RenderRequest) -> tuple[RawImage, ...]:
    """Make pictures of the colours of the seeds; an upscaler repeats the first pixel of each picture."""
    if isinstance(request, GenerationRequest):
        return tuple(_plain(request, seed) for seed in request.seeds)
    width, height = (side * request.scale for side in request.largest_input)
    return tuple(
        RawImage(width=width, height=height, pixels=picture.pixels[:3] * (width * height))
        for picture in request.pictures
    )


def _plain(request: GenerationRequest, seed: int) -> RawImage:
    pixel = bytes((seed % 256, seed // 256 % 256, seed // 65536 % 256))
    return RawImage(width=request.width, height=request.height, pixels=pixel * (request.width * request.height))
