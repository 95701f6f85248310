"""Recognises upscalers by the names and shapes of their tensors: ESRGAN in the layouts that it was published in, and Compact."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...shown import cut
from ..reading import NotServable, Shapes
from .networks import UpscalerNetwork

TITLE = "image upscalers (ESRGAN, Real-ESRGAN and Real-ESRGAN Compact)"
_WRAPPERS = ("module.", "netG.", "params_ema.", "params.")
_GROWTH = 32
"""Channels that each convolution of a dense block adds; spandrel builds no other ESRGAN."""
_COLOURS = 3
_SCALES = (1, 2, 4, 8, 16)
_OTHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a SwinIR, HAT, DAT or DRCT", ("layers.0.residual_group.", "layers.0.blocks.0.", "layers.0.swin1.")),
    ("a SPAN", ("block_1.c1_r.",)),
    ("a PLKSR", ("feats.0.weight",)),
    ("a face restorer (GFPGAN, RestoreFormer or CodeFormer)", ("stylegan_decoder", "toRGB.0", "fuse_convs_dict")),
    ("an OmniSR", ("residual_layer.0.residual_layer.",)),
    ("a checkpoint of a model that makes images, which belongs into the models folder", ("model.diffusion_model.",)),
    ("a LoRA", ("lora_unet_", "lora_te", "unet.down_blocks.", "unet.up_blocks.")),
)
"""What else such files hold, and the beginnings of tensor names that tell it."""
_MAX_NAMED = 4


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names that an ESRGAN's tensors have in one of its publications."""

    first: str
    block: str
    """Pattern of the first tensor of a block; its group is the number of the block."""
    last: str
    """Pattern of the last convolution's weight."""
    upsampling: str
    """Pattern of the convolutions after each doubling; one name each."""


_ESRGANS = (
    _Layout("conv_first.weight", r"body\.(\d+)\.rdb1\.conv1\.weight", r"conv_last\.weight", r"conv_up\d\.weight"),
    _Layout("conv_first.weight", r"RRDB_trunk\.(\d+)\.RDB1\.conv1\.weight", r"conv_last\.weight", r"upconv\d\.weight"),
)
_OLD = re.compile(r"model\.1\.sub\.(\d+)\.RDB1\.conv1\.0\.weight")


def read_network(shapes: Shapes) -> UpscalerNetwork:
    """Tell what upscaler a file holds.

    Raises:
        NotServable: it holds none, or one that is not served; the message says what it is.
    """
    plain = _unwrapped(shapes)
    recognisers: tuple[Callable[[Shapes], UpscalerNetwork | None], ...] = (_old_esrgan, _new_esrgan, _compact)
    network = next((found for recognise in recognisers if (found := recognise(plain)) is not None), None)
    if network is None:
        raise NotServable(_reason(plain))
    if network.scale not in _SCALES[1:]:
        raise NotServable(
            f"this is a {network.architecture} network that does not enlarge pictures: its scale is {network.scale}"
        )
    if (needed := expected_numbers(network)) > (held := sum(math.prod(shape) for shape in plain.values())):
        raise NotServable(
            f"tensors are missing: a {network.architecture} of this size has {needed} numbers, the file {held}"
        )
    return network


def expected_numbers(network: UpscalerNetwork) -> int:
    """Count the weights that a network of these sizes has at least."""
    features = network.features
    if network.architecture == "Compact":
        ends = _convolution(_COLOURS, features) + _convolution(features, _COLOURS * network.scale**2)
        slopes = (network.layers + 1) * features  # of the activations
        return ends + network.layers * _convolution(features, features) + slopes
    dense = sum(_convolution(features + _GROWTH * index, _GROWTH) for index in range(4))
    block = 3 * (dense + _convolution(features + 4 * _GROWTH, features))
    doublings = int(math.log2(network.scale * network.shuffled))
    same = (2 + doublings) * _convolution(features, features)  # after the blocks, after each doubling, before the last
    ends = _convolution(_COLOURS * network.shuffled**2, features) + _convolution(features, _COLOURS)
    return network.layers * block + same + ends


def _convolution(inputs: int, outputs: int) -> int:
    return 9 * inputs * outputs + outputs


def _unwrapped(shapes: Shapes) -> Shapes:
    """Drop the beginning that all names have in common, as trainers leave it there."""
    for prefix in _WRAPPERS:
        if shapes and all(name.startswith(prefix) for name in shapes):
            return {name.removeprefix(prefix): shape for name, shape in shapes.items()}
    return shapes


def _new_esrgan(shapes: Shapes) -> UpscalerNetwork | None:
    for layout in _ESRGANS:
        blocks = _count(shapes, layout.block)
        if layout.first in shapes and blocks:
            doublings = sum(1 for name in shapes if re.fullmatch(layout.upsampling, name))
            last = next((shapes[name] for name in shapes if re.fullmatch(layout.last, name)), ())
            return _esrgan(shapes[layout.first], last, blocks=blocks, doublings=doublings)
    return None


def _old_esrgan(shapes: Shapes) -> UpscalerNetwork | None:
    numbers = [int(found[1]) for name in shapes if (found := re.match(r"model\.(\d+)\.", name))]
    blocks = _count(shapes, _OLD.pattern)
    if "model.0.weight" not in shapes or not blocks:
        return None
    # As spandrel counts: after the blocks, three layers for each doubling and three at the end.
    length = max(numbers) + 1
    last = shapes.get(f"model.{length - 1}.weight", ())
    return _esrgan(shapes["model.0.weight"], last, blocks=blocks, doublings=(length - 5) // 3)


def _esrgan(first: tuple[int, ...], last: tuple[int, ...], *, blocks: int, doublings: int) -> UpscalerNetwork:
    if len(first) != 4 or len(last) != 4:
        raise NotServable("this looks like an ESRGAN, but its first or last layer is no convolution")
    inputs, outputs = first[1], last[0]
    shuffled = {_COLOURS: 1, 4 * _COLOURS: 2, 16 * _COLOURS: 4}.get(inputs)
    if shuffled is None or outputs != _COLOURS:
        raise NotServable(f"this is an ESRGAN for {inputs} channels in and {outputs} out; pictures have {_COLOURS}")
    scale = 2**doublings // shuffled
    return UpscalerNetwork(architecture="ESRGAN", scale=scale, features=first[0], layers=blocks, shuffled=shuffled)


def _compact(shapes: Shapes) -> UpscalerNetwork | None:
    numbers = [int(found[1]) for name in shapes if (found := re.fullmatch(r"body\.(\d+)\.(?:weight|bias)", name))]
    first = shapes.get("body.0.weight", ())
    if "body.1.weight" not in shapes or len(first) != 4:
        return None
    outputs = shapes.get(f"body.{max(numbers)}.bias", (0,))[0]
    scale = math.isqrt(outputs // _COLOURS)
    if first[1] != _COLOURS or outputs != _COLOURS * scale**2:
        raise NotServable(f"this is a Compact for {first[1]} channels in and {outputs} numbers out, not for pictures")
    return UpscalerNetwork(architecture="Compact", scale=scale, features=first[0], layers=(max(numbers) - 2) // 2)


def _count(shapes: Mapping[str, object], pattern: str) -> int:
    numbers = {int(found[1]) for name in shapes if (found := re.fullmatch(pattern, name))}
    return max(numbers) + 1 if numbers else 0


def _reason(shapes: Shapes) -> str:
    for what, beginnings in _OTHERS:
        if any(name.startswith(beginnings) for name in shapes):
            return f"this is {what}; only {TITLE} are served as upscalers"
    groups = sorted({name.split(".")[0] for name in shapes})
    shown = ", ".join(repr(cut(group)) for group in groups[:_MAX_NAMED]) + (", …" if len(groups) > _MAX_NAMED else "")
    holds = f"its tensors begin with {shown}" if groups else "it holds no tensors"
    return f"this is no upscaler of a known kind ({holds}); only {TITLE} are served"
