"""Memory of a simulated CUDA device: its books, swaps that move nothing back and overwrite nothing, and too little of it."""

import asyncio

import numpy as np
import pytest

from litestar_diffusion.domain.errors import Cancelled, InsufficientMemory
from litestar_diffusion.domain.models.spec import ModelName
from tests.simulated_gpu.bench import Bench, on_bench


def psnr(one: bytes, other: bytes) -> float:
    first, second = (np.frombuffer(pixels, np.uint8).astype(float) for pixels in (one, other))
    return float(10 * np.log10(255**2 / max(((first - second) ** 2).mean(), 1e-9)))


def test_the_books_are_what_the_driver_says() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pool.load("demo")
        assert bench.gpu.allocated == pytest.approx(bench.weights_nbytes, rel=0.01)
        assert bench.gpu.to_device == pytest.approx(bench.weights_nbytes, rel=0.01)
        await bench.made()
        assert bench.gpu.allocated == pytest.approx(bench.weights_nbytes, rel=0.01), "activations are left"

    on_bench(scenario)


def test_weights_are_page_locked_beside_the_thread_that_steps() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.pool.load("demo")
        assert len(bench.gpu.registered) == len(bench.pool.report().components)
        assert {name.partition("_")[0] for name in bench.gpu.page_locked_by} == {"helper"}

    on_bench(scenario)


def test_models_that_take_turns_move_to_the_device_alone_and_its_memory_does_not_grow() -> None:
    async def scenario(bench: Bench) -> None:
        images = [await bench.made(model) for model in ("demo", "demo-turbo")]
        to_host, swap_nbytes, peaks = bench.gpu.to_host, list[int](), list[int]()
        for _ in range(10):
            for model in ("demo", "demo-turbo"):
                before = bench.gpu.to_device
                async with bench.pool.lease(model):
                    peaks.append(bench.gpu.allocated)
                swap_nbytes.append(bench.gpu.to_device - before)
        assert bench.gpu.to_host == to_host
        assert len(set(swap_nbytes[2:])) <= 2, "a swap moves the weights that the other model does not share, each time"
        assert min(swap_nbytes[2:]) > 0
        assert len(set(peaks)) <= 2
        assert [await bench.made(model) for model in ("demo", "demo-turbo")] == images

    on_bench(scenario, device_nbytes=30_000_000)


@pytest.mark.parametrize("goes", ["to the host", "altogether"])
def test_a_cancelled_request_is_not_overwritten_by_the_next_model_while_its_kernels_run(goes: str) -> None:
    async def scenario(bench: Bench) -> None:
        expected = await bench.made("demo-turbo")

        def leave(done: int, _total: int) -> None:
            if done == 2:
                raise Cancelled("the client has gone")

        for _ in range(3):
            with pytest.raises(Cancelled):
                await bench.attempt("demo", on_step=leave, num_inference_steps=6)
            if goes == "altogether":
                await bench.pool.unload("demo")
            assert await bench.made("demo-turbo") == expected

    on_bench(scenario, device_nbytes=30_000_000)


def test_weights_that_leave_host_and_device_are_not_being_copied() -> None:
    async def scenario(bench: Bench) -> None:
        expected = await bench.made()
        for _ in range(3):
            loading = asyncio.ensure_future(bench.pool.load("demo-turbo"))
            await asyncio.sleep(0)
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await bench.pool.unload("demo-turbo")
            await bench.pool.unload("demo")
            assert await bench.made() == expected

    on_bench(scenario)


def test_a_decoding_that_does_not_fit_is_made_in_tiles() -> None:
    async def scenario(bench: Bench) -> None:
        whole = await bench.attempt(width=256, height=256)
        peak = whole.rendered.activation_nbytes
        assert peak is not None
        bench.gpu.total = bench.gpu.allocated + int(0.8 * peak)
        tiled = await bench.attempt(width=256, height=256)
        assert tiled.savings == ("tiled_decode",)
        assert psnr(whole.rendered.images[0].pixels, tiled.rendered.images[0].pixels) > 35
        assert bench.gpu.peak <= bench.gpu.total
        bench.gpu.total = 10**9
        assert await bench.made(width=256, height=256) == whole.rendered.images[0].pixels

    on_bench(scenario)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_what_does_not_fit_at_all_is_refused_and_the_model_is_unharmed(share: float) -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.attempt()
        peak = first.rendered.activation_nbytes
        assert peak is not None
        allocated = bench.gpu.allocated
        bench.gpu.total = allocated + int(share * peak)
        with pytest.raises(InsufficientMemory) as caught:
            await bench.attempt()
        assert caught.value.needed_nbytes > caught.value.available_nbytes
        assert bench.gpu.allocated == allocated, "tensors of the failed attempts are left"
        bench.gpu.total = 10**9
        assert await bench.made() == first.rendered.images[0].pixels

    on_bench(scenario)


def test_weights_that_the_device_has_no_room_for_evict_others_or_are_refused() -> None:
    """The budget promises more than the device has: another program took it."""

    async def scenario(bench: Bench) -> None:
        expected = await bench.made("demo")
        bench.gpu.total = bench.gpu.allocated + 6_000_000
        await bench.made("demo-turbo")
        assert bench.pool.status(ModelName("demo")).residency == "host"
        bench.gpu.total = 5_000_000
        await bench.pool.unload("demo-turbo")
        with pytest.raises(InsufficientMemory):
            await bench.made("demo")
        bench.gpu.total = 10**9
        assert await bench.made("demo") == expected

    on_bench(scenario)
