"""Makes checkpoints of SDXL's real size with random weights: fp16, 6.9 GB, original key layout, written as it goes."""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS
from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, build_network
from training.export import original_tensors

_DEVIATION = 0.02
_BLOCK = 1 << 24


def write_full_size(path: Path, seed: int, shared_seed: int | None = None) -> Path:
    """Write a checkpoint; a few seconds a gigabyte.

    Args:
        path: the file.
        seed: of the UNet's weights, and of everything else.
        shared_seed: of everything but the UNet, so that two files may share it.
    """
    tensors = full_size_tensors()
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * 2
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    blocks = {one: _noise(one) for one in {seed, seed if shared_seed is None else shared_seed}}
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for name, tensor in tensors.items():
            unet = name.startswith("model.diffusion_model.")
            block = blocks[seed if unet or shared_seed is None else shared_seed]
            mean = (
                1.0 if tensor.ndim == 1 and name.endswith("weight") else 0.0
            )  # norms must not silence what they scale
            left = tensor.numel()
            while left:
                part = block[: min(left, len(block))] + mean
                file.write(memoryview(part.numpy()).cast("B"))
                left -= len(part)
    return path


def full_size_tensors() -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint in the original key layout, on the meta device."""
    networks = [build_network(component, SHIPPED_CONFIGS) for component in COMPONENTS]
    return dict(original_tensors(*networks))


def _noise(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(_BLOCK, generator=generator) * _DEVIATION).half()
