"""The simulated devices refuse and show what real ones do."""

import gc

import pytest
import torch
from torch import Tensor

from litestar_diffusion.infra.weights.arena import HostArena
from tests.simulated_gpu import SimulatedGpu, simulated_gpus

KIB = 1024


def test_it_computes_as_the_cpu_does() -> None:
    images, layer = torch.randn(1, 4, 8, 8), torch.nn.Conv2d(4, 8, 3)
    with simulated_gpus(), torch.inference_mode():
        expected = layer(images)
        found = layer.to("cuda")(images.to("cuda"))
        assert found.device == torch.device("cuda:0")
        assert torch.equal(found.cpu(), expected)


def test_tensors_of_two_devices_do_not_mix() -> None:
    with simulated_gpus(KIB * KIB, KIB * KIB):
        here, there, host = torch.ones(2, device="cuda:0"), torch.ones(2, device="cuda:1"), torch.ones(2)
        for other in (there, host):
            with pytest.raises(RuntimeError, match="same device"):
                here.add(other)
        assert here.add(torch.tensor(2.0)).tolist() == [3.0, 3.0], "a single number may come from the host"
        assert here.add(there.to("cuda:0")).tolist() == [2.0, 2.0]


def test_memory_is_counted_by_tensor_and_has_a_limit() -> None:
    with simulated_gpus(8 * KIB) as [gpu]:
        large = torch.zeros(6 * KIB, dtype=torch.uint8, device="cuda")
        view = large[:KIB].view(torch.int32)
        assert gpu.allocated == 6 * KIB
        with pytest.raises(torch.OutOfMemoryError, match="GPU 0 has 8192 of which 2048 are free"):
            large.clone()
        del large
        assert gpu.allocated == 6 * KIB, "a view needs it still"
        assert view.sum().item() == 0
        del view
        assert (gpu.allocated, gpu.peak) == (0, 6 * KIB + 512)


def test_fresh_memory_is_not_a_number() -> None:
    with simulated_gpus():
        assert torch.empty(4, device="cuda").isnan().all().item()


def page_locked(nbytes: int) -> HostArena:
    arena = HostArena(nbytes)
    arena.buffer.fill_(7)
    arena.pin()
    return arena


def begun_copy(source: Tensor) -> tuple[Tensor, torch.cuda.Stream]:
    stream = torch.cuda.Stream(torch.device("cuda"))
    with torch.cuda.stream(stream):
        target = torch.empty_like(source, device="cuda")
        target.copy_(source, non_blocking=True)
    return target, stream


def test_a_copy_arrives_when_it_is_waited_for() -> None:
    with simulated_gpus():
        arena = page_locked(4)
        target, stream = begun_copy(arena.buffer)
        assert target.tolist() == [255] * 4
        torch.cuda.current_stream().wait_event(stream.record_event())
        assert target.tolist() == [7] * 4
        del arena  # while its devices are there


def noted(gpu: SimulatedGpu) -> str:
    found = "; ".join(gpu.hazards)
    gpu.hazards.clear()
    return found


def test_memory_of_the_host_that_goes_while_it_is_copied_is_noted() -> None:
    with simulated_gpus() as [gpu]:
        arena = page_locked(4)
        _target, stream = begun_copy(arena.buffer)
        del arena
        gc.collect()
        assert "given back while it was being copied" in noted(gpu)
        arena = page_locked(4)
        _target, stream = begun_copy(arena.buffer)
        stream.record_event().synchronize()
        del arena
        assert noted(gpu) == ""


def test_memory_that_is_used_again_before_its_kernels_end_is_noted() -> None:
    with simulated_gpus() as [gpu]:
        arena = page_locked(4)
        for synchronized, expected in ((False, "may still read it"), (True, "")):
            target, stream = begun_copy(arena.buffer)
            torch.cuda.current_stream().wait_event(stream.record_event())
            total = target.sum()
            del target
            if synchronized:
                assert total.item() == 28
            with torch.cuda.stream(stream):
                torch.empty(4, device="cuda")
            assert expected in noted(gpu)
            assert bool(expected) is not synchronized
        del arena


def test_a_lost_device_answers_no_call() -> None:
    with simulated_gpus() as [gpu]:
        ones = torch.ones(2, device="cuda")
        gpu.lose(after=1)
        assert ones.add(1).shape == (2,)
        with pytest.raises(RuntimeError, match="illegal memory access"):
            ones.add(1)
