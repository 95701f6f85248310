"""Small upscalers of every layout that is served, as files."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor

State = Mapping[str, Tensor]


def old_esrgan(scale: int = 4, shuffle: int | None = None) -> State:
    """An ESRGAN in the layout of its first publication."""
    torch.manual_seed(1)
    inputs, inner = (3, scale) if shuffle is None else (3 * shuffle**2, scale * shuffle)
    network = ESRGAN(
        in_nc=inputs, out_nc=3, num_filters=16, num_blocks=2, scale=inner, plus=False, shuffle_factor=shuffle
    )
    return network.state_dict()


def real_esrgan(scale: int = 4, shuffle: int | None = None) -> State:
    """The same in the layout of Real-ESRGAN."""
    return _renamed(old_esrgan(scale, shuffle), "body.{}.rdb{}.conv{}", "conv_body", "conv_up{}", "conv_hr")


def bsrgan() -> State:
    """The same in the layout of BSRGAN."""
    return _renamed(old_esrgan(4), "RRDB_trunk.{}.RDB{}.conv{}", "trunk_conv", "upconv{}", "HRconv")


def compact(scale: int = 2) -> State:
    """A Real-ESRGAN Compact."""
    torch.manual_seed(2)
    return Compact(num_feat=8, num_conv=2, upscale=scale).state_dict()


LAYOUTS: Mapping[str, Callable[[], State]] = {
    "ESRGAN x4": old_esrgan,
    "ESRGAN x2": lambda: old_esrgan(2),
    "Real-ESRGAN x4": real_esrgan,
    "Real-ESRGAN x2 with pixel unshuffle": lambda: real_esrgan(2, 2),
    "BSRGAN": bsrgan,
    "Compact x2": compact,
    "Compact x4": lambda: compact(4),
    "wrapped by a trainer": lambda: {f"module.{name}": tensor for name, tensor in compact().items()},
}


def write(path: Path, state: State) -> Path:
    """Write a file of `models/upscalers/`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path, {"format": "pt"})
    return path


def _renamed(state: State, block: str, trunk: str, up: str, last: str) -> State:
    length = max(int(name.split(".")[1]) for name in state) + 1
    names = {0: "conv_first", length - 1: "conv_last", length - 3: last}
    names.update({index: up.format(index // 3) for index in range(3, length - 3, 3)})

    def new(name: str) -> str:
        if found := re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(\w+)", name):
            return f"{block.format(*found.groups()[:3])}.{found[4]}"
        if found := re.fullmatch(r"model\.1\.sub\.\d+\.(\w+)", name):
            return f"{trunk}.{found[1]}"
        _, number, kind = name.split(".")
        return f"{names[int(number)]}.{kind}"

    return {new(name): tensor for name, tensor in state.items()}
