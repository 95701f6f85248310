"""Reads the weights of each component from a folder in the diffusers layout, sharded or not."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from diffusers.models.modeling_utils import ModelMixin
from safetensors import safe_open
from torch import Tensor, nn

from ...domain.errors import LoadFailed
from .checkpoint import StateDict


@contextmanager
def open_folder(path: Path, variant: str | None) -> Iterator[Callable[[str, nn.Module], StateDict]]:
    """A function that gives the weights of a component.

    The tensors are views of the mapped files: copy them before the `with` block ends.
    """
    with ExitStack() as stack:

        def weights(component: str, network: nn.Module) -> StateDict:
            tensors: OrderedDict[str, Tensor] = OrderedDict()
            for file in weight_files(path / component, variant):
                shard = stack.enter_context(safe_open(file, framework="pt", device="cpu"))
                tensors.update({key: shard.get_tensor(key) for key in shard.keys()})  # noqa: SIM118 - not a dict
            if isinstance(network, ModelMixin):
                network._fix_state_dict_keys_on_load(tensors)  # noqa: SLF001 - renames old VAE keys
            return tensors

        yield weights


def weight_files(component: Path, variant: str | None) -> list[Path]:
    """The safetensors files of one component: the variant's where there is one, else the plain ones.

    Raises:
        LoadFailed: there are none.
    """
    for stem in ("diffusion_pytorch_model", "model"):
        for tag in (f".{variant}", "") if variant else ("", ".fp16"):
            index = component / f"{stem}.safetensors.index{tag}.json"
            if index.is_file():
                shards: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
                return [component / name for name in sorted(set(shards.values()))]
            whole = component / f"{stem}{tag}.safetensors"
            if whole.is_file():
                return [whole]
    raise LoadFailed(
        f"{component} holds no .safetensors weights. Pickled weights (.bin) are never loaded: convert them."
    )
