"""A device whose steps take simulated seconds, and a dispatcher on it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from litestar_diffusion.domain.dispatch.dispatcher import Dispatcher
from litestar_diffusion.domain.dispatch.job import Job
from litestar_diffusion.domain.dispatch.policy import DispatchPolicy
from litestar_diffusion.domain.dispatch.stage import Stage
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.plan import Plan
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import FakeCatalogue, FakeEngine, fake_catalogues, model

MODELS = [model(name) for name in "ab"]
PLAN = Plan(memory_savings=NO_SAVINGS, activation_nbytes=1, step_nbytes=1)
SLICE_S = 2.0


class SimulatedTime(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when there is nothing else to do."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._now_s = max(self._now_s, self._scheduled[0].when())
        super()._run_once()


def simulate(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 10**7)

    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        runner.run(bounded())


def step_s(request: GenerationRequest) -> float:
    """3.4 s for 2048 x 2048, linear in the pixels."""
    return request.width * request.height / 2048**2 * 3.4


@dataclass
class Sent:
    client: str
    sent_s: float
    done_s: float = 0.0
    alone_s: float = 0.0
    version: str = ""
    """Version of the model that the result names."""
    warnings: tuple[str, ...] = ()

    @property
    def delay_s(self) -> float:
        return self.done_s - self.sent_s - self.alone_s


class Bench:
    """A dispatcher on a device of simulated speed with memory for `models` models."""

    def __init__(
        self, models: int = 2, load_s: float = 0.0, overhead_s: float = 0.0, *, decodes: bool = False, **policy: Any
    ) -> None:
        """Make one; each step takes `overhead_s` more than its pixels do, and decoding an image as long as a step, or no time."""
        self.time = asyncio.get_running_loop().time
        self._decode_s = step_s if decodes else lambda _request: 0.0
        self.engine = FakeEngine(
            step_s=lambda request: step_s(request) + overhead_s, decode_s=self._decode_s, load_s=load_s
        )
        self.catalogue = FakeCatalogue(MODELS)
        self.pool = DevicePool(
            fake_catalogues(self.catalogue),
            self.engine,
            Budget(device_nbytes=models * 100 + 64),
            clock=self.time,
        )
        self.dispatcher = Dispatcher(
            self.pool,
            self.engine,
            DispatchPolicy(**{"slice_s": SLICE_S, **policy}),
            clock=self.time,
            plan=lambda *_: PLAN,
        )

    def replace_model(self, name: str = "a") -> None:
        """Play that the file of a model was replaced."""
        self.catalogue.put(replace(self.catalogue.get(name), version="2"))

    async def send(self, client: str, name: str = "a", at_s: float = 0.0, **stated: Any) -> Sent:
        """Send a request for one image, and wait for it."""
        await asyncio.sleep(max(0.0, at_s - self.time()))
        parameters = GenerationParameters(**{"prompt": "x", "seed": 1, "guidance_scale": 1.0, **stated})
        job = Job(id=f"{client} {self.time()}", model=model(name).name, client=client, priority=parameters.priority)
        sent = Sent(client=client, sent_s=self.time())

        async def resolved(spec: ModelSpec) -> tuple[Stage, ...]:
            found = resolve(parameters, spec, Limits(), random_seed=0)
            decoding_s = self._decode_s(found.request) * found.request.count
            sent.alone_s = step_s(found.request) * found.request.num_inference_steps + decoding_s
            return (Stage.of(found.request),)

        result = await self.dispatcher.run(job, resolved)
        sent.done_s, sent.version, sent.warnings = self.time(), result.spec.version, result.rendered.warnings
        return sent
