"""Weights between host and device, where there is a CUDA device: speed of the bus, nothing moved back, nothing leaked."""

import time
from pathlib import Path

import pytest
import torch

from litestar_diffusion.domain.models.components import Component, ComponentId
from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.device.transfer import Mover
from litestar_diffusion.infra.diffusion.load_context import Loading
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.weights.arena import HostArena, Layout, Slot
from litestar_diffusion.infra.weights.component_store import ComponentStore, Network

MODELS = Path(__file__).parents[3] / "models"
NBYTES = 2 * 1024**3

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def test_on_a_cpu_nothing_moves() -> None:
    path = MODELS / "demo.safetensors"
    spec = ModelSpec(
        name=ModelName("demo"),
        source=Checkpoint(path=path, config=MODELS / "demo.config"),
        traits=ModelTraits(size_px=128),
        version="1",
    )
    store = ComponentStore()
    model = load_model(spec, path, Precision.of(torch.float32), lambda _: None, Loading(store=store))
    networks = store.named([component.id for component in model.components])
    addresses = [parameter.data_ptr() for parameter in model.unet.parameters()]
    mover = Mover(torch.device("cpu"))
    mover.place(networks)
    mover.wait()
    mover.offload(networks)
    assert [parameter.data_ptr() for parameter in model.unet.parameters()] == addresses


@pytest.fixture
def large() -> Network:
    """One linear layer as large as two fifths of SDXL's UNet."""
    rows = NBYTES // 2 // 4096
    with torch.device("meta"):
        module = torch.nn.Linear(4096, rows, bias=False, dtype=torch.float16)
    arena = HostArena(NBYTES)
    arena.buffer.fill_(1)
    layout = Layout({"weight": Slot(0, (rows, 4096), (4096, 1), torch.float16)}, NBYTES)
    facts = Component(id=ComponentId("large"), name="unet", nbytes=NBYTES, dtype="float16")
    network = Network(facts, module, arena, layout, {})
    network.point_to(arena.buffer)
    return network


@pytest.mark.gpu
@needs_cuda
def test_bringing_weights_back_takes_what_the_bus_takes_and_dropping_them_nothing(large: Network) -> None:
    device = torch.device("cuda")
    mover = Mover(device)
    mover.place([large])
    mover.wait()
    bandwidth = _pinned_bandwidth(device)
    before = torch.cuda.memory_allocated(device)
    mover.offload([large])
    assert before - torch.cuda.memory_allocated(device) >= NBYTES
    assert large.module.get_parameter("weight").data_ptr() == large.arena.buffer.data_ptr()
    begun = time.perf_counter()
    mover.place([large])
    mover.wait()
    assert time.perf_counter() - begun <= 1.25 * NBYTES / bandwidth


@pytest.mark.gpu
@needs_cuda
def test_a_hundred_swaps_reserve_no_more_memory(large: Network) -> None:
    device = torch.device("cuda")
    mover = Mover(device)
    reserved: list[int] = []
    for _ in range(100):
        mover.place([large])
        mover.wait()
        reserved.append(torch.cuda.memory_reserved(device))
        mover.offload([large])
    assert reserved[-1] == reserved[0]


def _pinned_bandwidth(device: torch.device) -> float:
    """Bytes a second from page-locked memory."""
    source = torch.empty(NBYTES // 4, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device=device)
    rates: list[float] = []
    for _ in range(5):
        torch.cuda.synchronize(device)
        begun = time.perf_counter()
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize(device)
        rates.append(len(source) / (time.perf_counter() - begun))
    return max(rates)
