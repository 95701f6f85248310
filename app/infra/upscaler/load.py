"""Loads an upscaler: spandrel builds the network from tensors that were read here, never from a file. Loader thread only."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ...domain.families.reading import NotServable
from ...domain.families.upscaler.family import COMPONENT
from ...domain.families.upscaler.networks import UpscalerNetwork
from ...domain.models.components import Component, ComponentId, LoadProgress, OnLoad
from ...domain.models.spec import ModelSpec
from ...domain.shown import cut
from ..device.precision import FileWeights, Precision
from ..diffusion.load_context import Loading
from ..weights.arena import lay_out
from ..weights.component_store import Network
from ..weights.safetensors_file import SafetensorsFile, find_stored
from ..weights.safetensors_header import read_header
from ..weights.twin_store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerModel:
    """An upscaler in memory."""

    module: nn.Module
    """Takes and returns pictures, 1 x 3 x h x w in 0..1."""
    scale: int
    components: tuple[Component, ...]


def load_upscaler(
    spec: ModelSpec, files: Path, precision: Precision, on_load: OnLoad, loading: Loading
) -> UpscalerModel:
    """Read an upscaler into host memory.

    Raises:
        NotServable: its tensors do not fit the network that its header promises.
        BrokenFile: the file is damaged.
        OSError: the file cannot be read.
    """
    promised = spec.networks
    assert isinstance(promised, UpscalerNetwork)
    key = (str(files), spec.version, COMPONENT, str(precision.kept))
    network = loading.store.remembered(key) or _fresh(files, key, promised, precision, loading.store)
    nbytes = network.facts.nbytes
    on_load(LoadProgress(phase="read", done_nbytes=nbytes, total_nbytes=nbytes))
    return UpscalerModel(module=network.module, scale=promised.scale, components=(network.facts,))


def weight_summary(_spec: ModelSpec, files: Path) -> FileWeights:
    """Sum up the weights that loading reads, from the header alone; all count as vectors, which are never kept in fewer bits."""
    numbers = sum(tensor.elements for tensor in read_header(files).tensors.values())
    return FileWeights(numbers=numbers, vectors=numbers, dtype="F32")


def _fresh(files: Path, key: tuple[str, ...], promised: UpscalerNetwork, precision: Precision, store: Store) -> Network:
    with closing(SafetensorsFile(files)) as file:
        tensors = {name: find_stored([file], tensor).read() for name, tensor in file.tensors().items()}
    module = _built(tensors, promised)
    weights = module.state_dict()
    layout = lay_out(weights.items(), lambda _name: precision.kept)
    arena = store.arena(layout.nbytes)
    for name, slot in layout.slots.items():
        slot.view(arena.buffer).copy_(weights[name])
    facts = Component(
        id=ComponentId(""), name=COMPONENT, nbytes=arena.nbytes, dtype=str(precision.kept).removeprefix("torch.")
    )
    network = Network(facts, module, arena, layout, {}, promised)
    network.point_to(arena.buffer)
    return store.add(key, network)


def _built(tensors: dict[str, Tensor], promised: UpscalerNetwork) -> nn.Module:
    """Build the network; what spandrel finds must be what the header promised, by which memory was planned."""
    from spandrel import MAIN_REGISTRY, UnsupportedModelError  # here, because it imports torchvision, for half a second

    try:
        found = MAIN_REGISTRY.load({name: tensor.float() for name, tensor in tensors.items()})
    except UnsupportedModelError as error:
        raise NotServable("spandrel knows no upscaler with these tensors") from error
    except (KeyError, IndexError, ValueError, RuntimeError, AssertionError) as error:
        raise NotServable(f"its tensors do not fit a {promised.architecture} network: {cut(str(error))}") from error
    if (found.architecture.id, found.scale) != (promised.architecture, promised.scale):
        raise NotServable(
            f"its header reads as {promised.architecture} x{promised.scale}, "
            f"its tensors as {found.architecture.id} x{found.scale}"
        )
    return found.model.eval().requires_grad_(False)
