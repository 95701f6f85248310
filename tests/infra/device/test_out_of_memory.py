"""Out of memory at any stage, on real weights: the image comes nonetheless, and nothing is left behind."""

import asyncio
import gc
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from litestar_diffusion.domain.dispatch.memory_fallbacks import FallbackResult, MemoryFallbacks
from litestar_diffusion.domain.errors import Cancelled, GenerationFailed, InsufficientMemory, OutOfMemory
from litestar_diffusion.domain.families.sdxl.activations import tile_px
from litestar_diffusion.domain.memory.activation_estimate import Demand
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS, MemorySavings, RawImage, RenderResult
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.infra.device.out_of_memory import is_out_of_memory
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.prompt_cache import PromptCache
from litestar_diffusion.infra.diffusion.tiles import TiledPicture, encode_in_tiles
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.testing import FakeCatalogue, fake_catalogues
from tests.infra.engine.one_engine import networks_of, one_engine
from tests.infra.sdxl.test_render import MODELS, ignore, pixels, request, spec_of
from tests.render import render

TILED, SPLIT = MemorySavings(tiled_decode=True), MemorySavings(split_guidance=True)
STEPS = 3
KINDS: dict[str, Callable[[], Exception]] = {
    "gpu": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "python": MemoryError,
    "cpu": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
}


@pytest.fixture(scope="module")
def model() -> SdxlModel:
    return load_model(spec_of(), MODELS / "demo.safetensors", Precision.of(torch.float32), ignore)


def psnr(one: RawImage, two: RawImage) -> float:
    squared = (pixels(one).astype(float) - pixels(two).astype(float)) ** 2
    return float(10 * np.log10(255**2 / max(squared.mean(), 1e-9)))


@contextmanager
def running_out(
    module: torch.nn.Module, *, when: Callable[[int, Any], bool], error: Callable[[], Exception] = KINDS["gpu"]
) -> Iterator[list[int]]:
    """Let a module's forward run out of memory on the calls for which `when(number, first argument)` is true.

    It fails half-way: with the tensors of a real forward alive in its frame.
    """
    calls: list[int] = []

    def failing(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        ballast = torch.ones(1000, 1000) + len(arguments)
        calls.append(ballast.ndim)
        if when(len(calls), arguments[0] if arguments else None):
            raise error()

    hook = module.register_forward_hook(failing)
    try:
        yield calls
    finally:
        hook.remove()


def tensors_alive() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


class Bench:
    """The real engine with one model."""

    def __init__(self) -> None:
        self.spec = spec_of()
        self.engine = one_engine(device="cpu", dtype="float32", threads=0, fetch=ignore)
        self.pool = DevicePool(
            fake_catalogues(FakeCatalogue([self.spec])), self.engine, Budget(host_nbytes=10**9, device_nbytes=10**9)
        )
        self.fallbacks = MemoryFallbacks(self.pool, self.engine)
        self.inside: Any = None

    async def climb(self, asked: GenerationRequest | None = None) -> FallbackResult:
        async with self.pool.lease("demo") as lease:
            self.inside = inside_of(lease.model)
            self.inside.prompts = PromptCache(max_nbytes=0)  # else the second request would encode nothing
            return await self.fallbacks.run(lease, asked or request(self.spec, num_inference_steps=STEPS), ignore)


def inside_of(loaded: Any) -> SdxlModel:
    return networks_of(loaded)


def on_bench(scenario: Callable[[Bench], Any]) -> None:
    async def bounded() -> None:
        bench = Bench()
        try:
            await asyncio.wait_for(scenario(bench), 120)
        finally:
            await bench.pool.close()
            await bench.engine.stop()

    asyncio.run(bounded())


def part_of(model: SdxlModel, stage: str) -> torch.nn.Module:
    return {"encode": model.text_encoder_2, "denoise": model.unet, "decode": model.vae.decoder}[stage]


SPARED: dict[str, Callable[[int, Any], bool]] = {
    "denoise": lambda number, sample: number > 1 and len(sample) > 1,
    "decode": lambda _, latents: latents.shape[-1] > 12,
}
"""Runs out unless the two rows are split, or tiles are decoded."""
RUNG = {"denoise": "split_guidance", "decode": "tiled_decode"}
MIN_PSNR = {"denoise": 70.0, "decode": 40.0}


@pytest.mark.parametrize("stage", ["denoise", "decode"])
def test_the_image_after_a_rung_is_the_solo_image(stage: str) -> None:
    async def scenario(bench: Bench) -> None:
        solo = (await bench.climb()).rendered.images[0]
        with running_out(part_of(bench.inside, stage), when=SPARED[stage]):
            attempt = await bench.climb()
        assert attempt.savings == (RUNG[stage],)
        found = psnr(solo, attempt.rendered.images[0])
        assert found > MIN_PSNR[stage], f"PSNR {found:.1f} dB"
        assert (await bench.climb()).rendered.images[0].pixels == solo.pixels

    on_bench(scenario)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["encode", "denoise", "decode"])
def test_a_hopeless_case_leaves_the_model_as_it_was_and_no_tensor_alive(stage: str, kind: str) -> None:
    async def scenario(bench: Bench) -> None:
        solo = (await bench.climb()).rendered.images[0].pixels
        before = tensors_alive()
        with running_out(part_of(bench.inside, stage), when=lambda *_: True, error=KINDS[kind]):
            with pytest.raises(InsufficientMemory) as caught:
                await bench.climb()
            assert tensors_alive() == before
        failure = caught.value
        assert failure.needed_nbytes > failure.available_nbytes
        assert failure.largest_size == (64, 64)
        assert (await bench.climb()).rendered.images[0].pixels == solo

    on_bench(scenario)


@pytest.mark.parametrize("error", [RuntimeError, Cancelled])
def test_no_other_failure_keeps_tensors_alive_and_the_log_keeps_its_lines(error: type[Exception]) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.climb()
        before = tensors_alive()
        with (
            running_out(bench.inside.unet, when=lambda *_: True, error=lambda: error("injected")),
            pytest.raises((GenerationFailed, Cancelled)) as caught,
        ):
            await bench.climb()
        assert tensors_alive() == before
        if error is RuntimeError:
            assert "denoise.py" in "".join(traceback.format_exception(caught.value))

    on_bench(scenario)


@pytest.mark.parametrize("stage", ["encode", "denoise", "decode"])
def test_the_engine_names_the_stage_with_nothing_attached(stage: str) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.climb()
        async with bench.pool.lease("demo") as lease:
            with (
                running_out(part_of(bench.inside, stage), when=lambda *_: True),
                pytest.raises(OutOfMemory) as caught,
            ):
                await bench.engine.renderer.generate(
                    lease.model, request(bench.spec, num_inference_steps=STEPS), ignore
                )
        assert caught.value.stage == stage
        assert caught.value.__context__ is caught.value.__cause__ is None

    on_bench(scenario)


def test_both_rows_one_after_the_other_give_what_they_give_together(model: SdxlModel) -> None:
    asked = request(spec_of(), negative_prompt="a green star", guidance_rescale=0.5, num_inference_steps=STEPS)
    found = psnr(render(model, asked, ignore).images[0], render(model, asked, ignore, SPLIT).images[0])
    assert found > 70, f"PSNR {found:.1f} dB"


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (256, 192), (72, 320), (640, 64)])
def test_tiles_change_the_image_little(model: SdxlModel, size: tuple[int, int]) -> None:
    asked = request(spec_of(), width=size[0], height=size[1], num_inference_steps=3)
    whole, tiled = (render(model, asked, ignore, memory_savings).images[0] for memory_savings in (NO_SAVINGS, TILED))
    assert (tiled.width, tiled.height) == size
    found = psnr(whole, tiled)
    assert found > 35, f"PSNR {found:.1f} dB"


def test_tiles_bound_what_is_decoded_at_once(model: SdxlModel) -> None:
    seen: list[tuple[int, ...]] = []
    hook = model.vae.decoder.register_forward_hook(lambda _module, given, _: seen.append(tuple(given[0].shape[-2:])))
    try:
        render(model, request(spec_of(), width=1024, height=640, num_inference_steps=1), ignore, TILED)
    finally:
        hook.remove()
    assert set(seen) == {(tile_px(1024, 640) // 8,) * 2}
    assert len(seen) == 6


@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 12), (80, 128, 64), (7, 31, 8), (9, 8, 6), (1, 5, 3)])
def test_tiles_leave_no_seam(height: int, width: int, side: int) -> None:
    """A decoder that looks at one element for each pixel shows every other error of the tiling."""
    latents = torch.randn(1, 3, height, width)

    def enlarge(tile: torch.Tensor) -> torch.Tensor:
        assert max(tile.shape[-2:]) <= side
        return torch.nn.functional.interpolate(tile, scale_factor=8)

    picture = TiledPicture.decoded(latents, side)
    while not picture.complete:
        picture.apply_next(enlarge)
    torch.testing.assert_close(picture.result(), torch.nn.functional.interpolate(latents, scale_factor=8))


@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 12), (80, 128, 64), (7, 31, 8), (1, 5, 3)])
def test_encoded_tiles_leave_no_seam(height: int, width: int, side: int) -> None:
    pixels = torch.randn(1, 3, 8 * height, 8 * width)

    def shrink(tile: torch.Tensor) -> torch.Tensor:
        assert max(tile.shape[-2:]) <= 8 * side
        return torch.nn.functional.avg_pool2d(tile, 8)

    torch.testing.assert_close(encode_in_tiles(shrink, pixels, side, 3), torch.nn.functional.avg_pool2d(pixels, 8))


@pytest.mark.parametrize("kind", KINDS)
def test_every_spelling_of_out_of_memory_is_known(kind: str) -> None:
    assert is_out_of_memory(KINDS[kind]())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_real_allocation_that_cannot_be_made_is_one() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_peak_on_a_gpu_is_observed() -> None:
    async def scenario() -> RenderResult:
        engine = one_engine(device="cuda", dtype="float32", threads=0, fetch=ignore)
        pool = DevicePool(fake_catalogues(FakeCatalogue([spec_of()])), engine)
        async with pool.lease("demo") as lease:
            return await engine.renderer.generate(lease.model, request(spec_of(), width=1024, height=1024), ignore)

    spec: ModelSpec = spec_of()
    observed = asyncio.run(scenario()).activation_nbytes
    assert observed is not None
    asked = request(spec, width=1024, height=1024)
    predicted = Demand(spec=spec, request=asked, element_nbytes=4).predicted_nbytes(NO_SAVINGS)
    assert predicted / 2 < observed < predicted * 2
