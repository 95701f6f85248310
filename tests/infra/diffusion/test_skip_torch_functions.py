"""What is left out while networks are built and weights renamed."""

import threading
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor, nn

from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS
from litestar_diffusion.infra.diffusion.skip_torch_functions import INITIALIZERS, Skipping
from litestar_diffusion.infra.sdxl.loading.components import build_network
from litestar_diffusion.infra.sdxl.loading.key_conversion import component_weights
from litestar_diffusion.infra.weights.safetensors_file import SafetensorsFile, find_stored

MODELS = Path(__file__).parents[3] / "models"
CONFIGS = MODELS / "demo.config"


def test_weights_are_not_initialized_within_and_are_after() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with Skipping(INITIALIZERS):
        nn.Linear(4, 4)
        nn.Conv2d(4, 4, 3)
        nn.Embedding(4, 4)
    assert torch.equal(torch.get_rng_state(), before), "no random number was drawn"
    nn.Linear(4, 4)
    assert not torch.equal(torch.get_rng_state(), before)


def test_other_threads_go_on_initializing() -> None:
    drawn: list[Tensor] = []
    with Skipping(INITIALIZERS):
        thread = threading.Thread(target=lambda: drawn.append(nn.init.uniform_(torch.zeros(8))))
        thread.start()
        thread.join()
    assert drawn[0].abs().sum() > 0


def test_renamed_weights_are_places_in_the_file_not_copies() -> None:
    """A projection, which files hold transposed, too."""
    with closing(SafetensorsFile(MODELS / "demo.safetensors")) as file:
        tensors = file.tensors()
        for component in COMPONENTS:
            weights = component_weights(tensors, component, build_network(component, CONFIGS))
            stored = {name: find_stored([file], weight) for name, weight in weights.items()}
            transposed = [name for name, place in stored.items() if not place.is_contiguous]
            assert transposed == (["text_projection.weight"] if component == "text_encoder_2" else [])
