"""Several CPU devices in one process: the weights are in memory once, and each device makes the images that one alone makes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.errors import DeviceLost, GenerationFailed
from litestar_diffusion.domain.memory.host_tier import HostTier
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.models.components import LoadProgress
from litestar_diffusion.domain.requests.hires import Hires
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import RenderResult
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.engine import device_worker
from litestar_diffusion.infra.engine.machine import MachineEngine, TorchMachine
from litestar_diffusion.infra.engine.shared_model import SharedModel
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward
from litestar_diffusion.settings import DeviceSettings, JobsSettings, ModelsSettings, Settings
from litestar_diffusion.testing import fake_catalogues
from tests.conftest import DTYPE, ROOT


def never(*_: Any) -> Path:
    raise AssertionError("nothing is downloaded")


class Bench:
    """A machine with the demo models, and a pool for each of its devices."""

    def __init__(self, *names: str) -> None:
        self.claimed: list[str] = []
        self.machine = TorchMachine(names, dtype=DTYPE, threads=1, fetch=never, on_device=self.claimed.append)
        self.catalogue = ModelCatalogue(directories=[ROOT / "models"], overrides={}, hub=())
        self.read: list[str] = []

    async def start(self) -> None:
        await self.machine.start()
        await self.catalogue.find("demo")
        catalogues, host = fake_catalogues(self.catalogue), HostTier()
        note = self._note
        self.pools = [
            DevicePool(catalogues, engine, host=host, on_loading=lambda key, progress: note(key.name, progress))
            for engine in self.machine.engines
        ]

    def _note(self, name: str, progress: LoadProgress | None) -> None:
        if progress is not None and name not in self.read:
            self.read.append(name)

    async def request(self, seed: int) -> GenerationRequest:
        spec = await self.catalogue.find("demo")
        parameters = GenerationParameters(prompt="a red circle", seed=seed, num_inference_steps=3, reproducible=True)
        return resolve(parameters, spec, Limits(), random_seed=0).request

    async def made(self, place: int, seed: int, on_step: Callable[[int, int], None] = lambda *_: None) -> bytes:
        async with self.pools[place].lease("demo") as lease:
            renderer = self.machine.engines[place].renderer
            result = await renderer.generate(lease.model, await self.request(seed), on_step)
        assert isinstance(result, RenderResult)
        return result.images[0].pixels


def run(scenario: Callable[[Bench], Awaitable[None]], *names: str) -> None:
    async def bounded() -> None:
        bench = Bench(*names)
        try:
            await bench.start()
            await asyncio.wait_for(scenario(bench), 120)
            for pool in bench.pools:
                pool.check_integrity()
                await pool.close()
        finally:
            await bench.machine.stop()

    asyncio.run(bounded())


def modules(engine: MachineEngine, model: Any) -> Any:
    assert isinstance(model, SharedModel)
    built: Any = model.built[engine.threads.runtime]
    return built.networks


def test_two_devices_make_at_the_same_time_what_one_makes_alone_from_weights_that_are_read_once() -> None:
    alone: list[bytes] = []

    async def one(bench: Bench) -> None:
        assert [engine.device.name for engine in bench.machine.engines] == bench.claimed == ["cpu"]
        alone.extend([await bench.made(0, seed) for seed in range(4)])

    async def two(bench: Bench) -> None:
        assert [engine.device.name for engine in bench.machine.engines] == sorted(bench.claimed) == ["cpu:0", "cpu:1"]
        together: set[int] = set()
        busy = [0, 0]

        async def made(place: int, seed: int) -> bytes:
            def note(done: int, total: int) -> None:
                busy[place] = done < total
                together.add(sum(busy))

            return await bench.made(place, seed, note)

        pictures = await asyncio.gather(*(made(seed % 2, seed) for seed in range(4)))
        assert pictures == alone
        assert 2 in together, "the devices did not work at the same time"
        assert bench.read == ["demo"]
        weights = sum(component.nbytes for component in bench.pools[0].report().components)
        assert [pool.stats().host_nbytes for pool in bench.pools] == [weights, weights]

    run(one, "cpu")
    run(two, "cpu", "cpu")


def test_devices_have_networks_of_their_own_over_the_same_memory_which_is_freed_once() -> None:
    async def scenario(bench: Bench) -> None:
        for place in (0, 1):
            await bench.made(place, 1)
        async with bench.pools[0].lease("demo") as lease:
            first, second = (modules(engine, lease.model) for engine in bench.machine.engines)
            assert first.unet is not second.unet
            own = [dict(networks.unet.named_parameters()) for networks in (first, second)]
            addresses = [{name: weight.data_ptr() for name, weight in weights.items()} for weights in own]
            assert addresses[0] == addresses[1]
            assert not {id(layer) for layer in first.unet.modules()} & {id(layer) for layer in second.unet.modules()}
        assert await bench.pools[1].unload("demo")
        left = [weight for networks in (first, second) for weight in networks.unet.parameters()]
        assert {weight.device for weight in left} == {torch.device("meta")}
        assert [pool.stats().host_nbytes for pool in bench.pools] == [0, 0]
        assert await bench.made(1, 1) == await bench.made(0, 1)

    run(scenario, "cpu", "cpu")


def test_a_device_that_answers_no_call_after_an_error_is_lost_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(bench: Bench) -> None:
        first, second = bench.machine.engines
        alone = await bench.made(1, 5)

        def broken(*_: Any, **__: Any) -> None:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with ...")

        with monkeypatch.context() as patched:
            patched.setattr(SdxlBatchedForward, "step", broken)
            with pytest.raises(GenerationFailed):  # the device answers: the request failed, and nothing else
                await bench.made(0, 5)
            assert first.failure is None
            patched.setattr(device_worker, "is_lost", lambda _device: True)
            with pytest.raises(DeviceLost, match=r"cpu:0 .*illegal memory access was encountered\)\. Restart"):
                await bench.made(0, 5)
        assert isinstance(first.failure, DeviceLost)
        assert second.failure is None
        assert await bench.made(1, 5) == alone

    run(scenario, "cpu", "cpu")


def test_each_device_has_its_own_number_of_threads() -> None:
    async def scenario(bench: Bench) -> None:
        threads = [engine.threads for engine in bench.machine.engines]
        for count, own in zip((1, 2), threads, strict=True):
            await own.run(own.engine, torch.set_num_threads, count)
        assert [await own.run(own.engine, torch.get_num_threads) for own in threads] == [1, 2]

    run(scenario, "cpu", "cpu")


@pytest.mark.slow
def test_adapters_embeddings_and_upscalers_make_on_each_device_what_they_make_on_one() -> None:
    async def made(*names: str) -> tuple[list[bytes], int]:
        services = build(
            Settings(
                device=DeviceSettings(names=names, threads=1),
                models=ModelsSettings(hub_enabled=False, directory=None, dtype=DTYPE),
                jobs=JobsSettings(directory=""),
            )
        )

        async def image(seed: int) -> bytes:
            parameters = GenerationParameters(
                prompt="a turquoise circle <lora:outline:1>",
                seed=seed,
                num_inference_steps=2,
                hires=Hires(upscaler="demo-x2", steps=2),
                reproducible=True,
            )
            return (await services.generator.generate("demo", parameters)).images[0].data

        async with services.running():
            pictures = await asyncio.gather(*(image(seed) for seed in range(6)))
            ran = sum(bool(device.dispatcher._throughput._seconds_a_unit) for device in services.devices)
            services.pool.check_integrity()
        return list(pictures), ran

    async def main() -> None:
        alone, _ = await made("cpu")
        together, devices = await made("cpu", "cpu")
        assert together == alone
        assert devices == 2

    asyncio.run(asyncio.wait_for(main(), 300))
