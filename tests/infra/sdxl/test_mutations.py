"""Whatever is done to a checkpoint, `usable` means that it loads, and nothing is refused that diffusers loads.

Exceptions, in which more is refused than diffusers does, because it would make noise of them without a word: weights of whole
numbers, which are quantised and lack their scales, and a prediction type in the metadata that is not served.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from litestar_diffusion.domain.errors import UnusableModel
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS

from .checkpoints import CONFIG, Tensors, demo_tensors, described, loaded, save
from .test_layouts import LAYOUTS

EXCEPTIONS = ("has dtype I", "has dtype U", "has dtype BOOL", "modelspec.prediction_type")
USUAL, ALL = 24, 200
Metadata = dict[str, str]
Mutation = Callable[[Tensors, Metadata, random.Random], None]
DTYPES = (
    torch.float64, torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int8, torch.int16, torch.uint16, torch.uint8, torch.bool,
)  # fmt: skip
VALUES = (
    "",
    "True",
    "false",
    "epsilon",
    "v",
    "V-Prediction",
    "rectified_flow",
    "1024x1024",
    "0x0",
    "sdxl turbo",
    "ü\n" * 50,
)
KEYS = (
    "modelspec.prediction_type", "ss_zero_terminal_snr", "modelspec.resolution", "modelspec.title", "format",
    "ss_v_parameterization", "modelspec.architecture",
)  # fmt: skip
ADDED = (
    "v_pred",
    "ztsnr",
    "model_ema.decay",
    "betas",
    "logit_scale",
    "conditioner.embedders.2.x",
    "first_stage_model.x",
    "",
)


def drop(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    for name in chance.sample(sorted(tensors), chance.choice((1, 1, 5))):
        del tensors[name]


def drop_a_group(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    name = chance.choice(sorted(tensors))
    prefix = ".".join(name.split(".")[: chance.randint(1, 4)])
    for key in [key for key in tensors if key.startswith(prefix)]:
        del tensors[key]


def rename(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    name = chance.choice(sorted(tensors))
    tensor = tensors.pop(name)
    tensors[chance.choice((f"{name}.weight", name.upper(), f"model.{name}", name.removesuffix(".weight")))] = tensor


def reshape(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    name = chance.choice(sorted(tensors))
    tensor = tensors[name]
    tensors[name] = chance.choice(
        (tensor.flatten(), tensor[None], tensor[..., None], tensor[:1], torch.cat([tensor] * 2))
    )


def retype(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    dtype = chance.choice(DTYPES)
    for name in chance.sample(sorted(tensors), chance.choice((1, 1, 20))):
        tensors[name] = tensors[name].float().to(dtype)


def transpose(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    name = chance.choice([name for name in sorted(tensors) if tensors[name].ndim > 1])
    tensors[name] = tensors[name].transpose(0, 1)


def state(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    metadata[chance.choice(KEYS)] = chance.choice(VALUES)


def add(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    odd: Tensor = torch.zeros(chance.choice(((), (0,), (3,), (2, 2))), dtype=chance.choice(DTYPES))
    tensors[chance.choice(ADDED) or f"{chance.choice(sorted(tensors))}.extra"] = odd


def lay_out(tensors: Tensors, metadata: Metadata, chance: random.Random) -> None:
    changed = LAYOUTS[chance.choice(sorted(LAYOUTS))](dict(tensors))
    tensors.clear()
    tensors.update(changed)


MUTATIONS: tuple[Mutation, ...] = (drop, drop_a_group, rename, reshape, retype, transpose, state, add)


def mutated(seed: int) -> tuple[Tensors, Metadata]:
    """The built-in model after one to three changes, the kinds of the first ones in turn; one in three in another layout."""
    chance = random.Random(seed)
    tensors, metadata = demo_tensors(), {"format": "pt"}
    if seed % 3 == 2:
        lay_out(tensors, metadata, chance)
    MUTATIONS[seed % len(MUTATIONS)](tensors, metadata, chance)
    for mutation in chance.choices(MUTATIONS[-2:], k=chance.randint(0, 2)):
        mutation(tensors, metadata, chance)
    return tensors, metadata


def diffusers_loads(path: Path) -> bool:
    """Whether diffusers finds every weight; those that it misses stay on the meta device and fail at the first image."""
    from diffusers import StableDiffusionXLPipeline  # slow to import, and needed for refused files alone

    build: Any = StableDiffusionXLPipeline.from_single_file
    try:
        pipeline = build(str(path), config=str(CONFIG), local_files_only=True)
    except Exception:
        return False
    networks = [getattr(pipeline, component) for component in COMPONENTS]
    return not any(weight.is_meta for network in networks for weight in network.state_dict().values())


def check(seed: int, folder: Path) -> None:
    path = save(folder / "model.safetensors", *mutated(seed))
    spec = described(path)
    if spec.unusable is None:
        try:
            loaded(spec, path)
        except UnusableModel as error:
            pytest.fail(f"usable, and refused at load: {error}")
    elif not any(exception in spec.unusable for exception in EXCEPTIONS):
        assert not diffusers_loads(path), f"diffusers loads it, and it was refused: {spec.unusable}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(USUAL))
def test_usable_means_that_it_loads(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(USUAL, ALL))
def test_usable_means_that_it_loads_for_many_more(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path)
