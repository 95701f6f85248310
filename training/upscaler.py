"""`python -m training.upscaler`: trains the demo upscaler on drawn scenes, writes it, and prints its score beside Lanczos."""

import argparse
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from spandrel.architectures.Compact import Compact
from torch import Tensor

from .drawing import draw
from .progress import Progress, cosine
from .scenes import Scene, held_out_scenes, training_scene
from .score import contact_sheet
from .stages import MODELS

SCALE = 2
_FEATURES, _CONVOLUTIONS = 24, 6
_STEPS, _BATCH, _PATCH_PX, _RATE = 900, 16, 24, 3e-3
_PICTURES, _LARGE_PX = 400, (160, 192, 256)
_SHOWN_EACH = 100
_FILE = "demo-x2.safetensors"


def main() -> None:
    """Parse the arguments, train, score."""
    parser = argparse.ArgumentParser(prog="python -m training.upscaler", description=__doc__)
    parser.add_argument("--out", type=Path, default=MODELS / "upscalers", help="folder of the file")
    parser.add_argument("--steps", type=int, default=_STEPS, help="steps of training; 0: only score the file")
    parser.add_argument("--sheet", type=Path, help="where a sheet of pictures goes: small, Lanczos, upscaler, drawn")
    arguments = parser.parse_args()
    if arguments.steps:
        write(train(arguments.steps), arguments.out / _FILE)
    network = read(arguments.out / _FILE)
    scenes = held_out_scenes(60, seed=3)
    print(f"held-out scenes, PSNR: {score(network, scenes)}", flush=True)
    if arguments.sheet is not None:
        sheet(network, scenes[:4]).save(arguments.sheet)


def new_network() -> Compact:
    """Build an untrained network that does what its residual begins from: nearest-neighbour scaling."""
    network = Compact(num_feat=_FEATURES, num_conv=_CONVOLUTIONS, upscale=SCALE)
    last = network.body[-1]
    assert isinstance(last, torch.nn.Conv2d)
    torch.nn.init.zeros_(last.weight)
    assert last.bias is not None
    torch.nn.init.zeros_(last.bias)
    return network


def train(steps: int, seed: int = 0) -> Compact:
    """Train on random patches of training scenes and of the same scenes shrunk."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    pairs = [pair(training_scene(rng), rng) for _ in range(_PICTURES)]
    network, progress = new_network().train(), Progress(steps)
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - torch's overloads miss it
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step / steps))
    for step in range(1, steps + 1):
        small, large = _batch(pairs, rng)
        loss = torch.nn.functional.mse_loss(network(small), large)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % _SHOWN_EACH == 0:
            print(f"{progress.told(step)}, loss {loss.item():.5f}", flush=True)
    return network.eval()


def pair(scene: Scene, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Draw a scene, and shrink it."""
    side = rng.choice(_LARGE_PX)
    large = draw(scene, side, side)
    return tensor_of(large.resize((side // SCALE, side // SCALE), Image.Resampling.BOX)), tensor_of(large)


def _batch(pairs: Sequence[tuple[Tensor, Tensor]], rng: random.Random) -> tuple[Tensor, Tensor]:
    smalls, larges = zip(*(_patch(*rng.choice(pairs), rng) for _ in range(_BATCH)), strict=True)
    return torch.stack(smalls), torch.stack(larges)


def _patch(small: Tensor, large: Tensor, rng: random.Random) -> tuple[Tensor, Tensor]:
    side = _PATCH_PX
    top, left = _interesting(small, rng)
    cut = slice(top * SCALE, (top + side) * SCALE), slice(left * SCALE, (left + side) * SCALE)
    return small[:, top : top + side, left : left + side], large[:, *cut]


def _interesting(small: Tensor, rng: random.Random) -> tuple[int, int]:
    """Choose the top and left of a patch: of a few random ones that with the most edges, because most of a scene is flat."""
    side = _PATCH_PX
    places = [tuple(rng.randint(0, length - side) for length in small.shape[-2:]) for _ in range(3)]
    top, left = max(places, key=lambda at: small[:, at[0] : at[0] + side, at[1] : at[1] + side].std().item())
    return top, left


def write(network: Compact, path: Path) -> None:
    """Write a file as upscalers are published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {"format": "pt"})
    path.chmod(0o644)


def read(path: Path) -> Compact:
    """Read a file of `write`."""
    network = new_network()
    network.load_state_dict(load_file(path))
    return network.eval()


def score(network: Compact, scenes: Sequence[Scene], side: int = 256) -> str:
    """Compare Lanczos and the network with scenes that were drawn at twice the size, in decibels."""
    found = {"lanczos": 0.0, "demo-x2": 0.0}
    for scene in scenes:
        large = draw(scene, side, side)
        small = large.resize((side // SCALE, side // SCALE), Image.Resampling.BOX)
        found["lanczos"] += psnr(small.resize(large.size, Image.Resampling.LANCZOS), large) / len(scenes)
        found["demo-x2"] += psnr(upscaled(network, small), large) / len(scenes)
    return ", ".join(f"{name} {value:.2f} dB" for name, value in found.items())


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Return the peak signal-to-noise ratio of two pictures in decibels."""
    error = ((tensor_of(one) - tensor_of(other)) ** 2).mean().item()
    return -10 * math.log10(max(error, 1e-12))


@torch.no_grad()
def upscaled(network: Compact, picture: Image.Image) -> Image.Image:
    """Apply the network to a whole picture."""
    pixels = network(tensor_of(picture)[None])[0].clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def sheet(network: Compact, scenes: Sequence[Scene], side: int = 256) -> Image.Image:
    """Put pictures of scenes side by side: enlarged pixels, Lanczos, the network, drawn."""
    shown: list[Image.Image] = []
    for scene in scenes:
        large = draw(scene, side, side)
        small = large.resize((side // SCALE, side // SCALE), Image.Resampling.BOX)
        shown += [
            small.resize(large.size, Image.Resampling.NEAREST),
            small.resize(large.size, Image.Resampling.LANCZOS),
            upscaled(network, small),
            large,
        ]
    return contact_sheet(shown, 4)


def tensor_of(picture: Image.Image) -> Tensor:
    """Return 3 x height x width in 0..1, float32."""
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float().div_(255)


if __name__ == "__main__":
    main()
