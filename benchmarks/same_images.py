"""Whether a change alters images: `uv run python benchmarks/same_images.py --save before.json`, then `--compare before.json`.

Starts a server of its own with the built-in models in float32 and asks it, one after the other, for forty images: samplers,
sizes, both prediction types, guidance on and off, several images a request, and `reproducible`. Files hold the SHA-256 of each
image's pixels, so that a new line of metadata does not count as a difference. `--compare` ends with 1 if any pixel differs.
Hashes of one machine mean nothing on another: instruction sets round differently.
"""

import argparse
import hashlib
import io
import itertools
import json
import sys
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.server import server

_START_S = 120
_REQUEST_S = 300
_SAMPLERS = (
    "euler",
    "euler_a",
    "heun",
    "lms",
    "ddim",
    "ddpm",
    "pndm",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "dpmpp_2m_sde",
    "dpmpp_3m",
    "dpmpp_2s",
    "dpmpp_2s_a",
    "dpmpp_sde",
    "unipc",
    "deis",
    "lcm",
    "tcd",
    "sa_solver",
    "dpm2",
    "dpm2_a",
)
_SIZES = ((64, 64), (128, 128), (192, 128), (96, 160))
_ENVIRONMENT = {
    "LITESTAR_DIFFUSION__MODELS__DTYPE": "float32",
    "LITESTAR_DIFFUSION__MODELS__DEFAULT": "",
    "LITESTAR_DIFFUSION__DEVICE__NAME": "cpu",
}


def main() -> None:
    """Ask for the images, then save or compare their hashes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--save", type=Path, metavar="FILE", help="write the hashes to FILE")
    what.add_argument("--compare", type=Path, metavar="FILE", help="compare with the hashes in FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), _ENVIRONMENT) as started:
        started.wait_until_ok("/health/ready", _START_S)
        with httpx.Client(base_url=started.url, timeout=_REQUEST_S) as client:
            hashes = {
                name: _hashes(client, model, body)
                for name, model, body in track(list(_requests()), "images", console=Console(stderr=True))
            }
    if options.save:
        options.save.write_text(json.dumps(hashes, indent=1))
        print(f"{len(hashes)} requests, {sum(map(len, hashes.values()))} images: hashes written to {options.save}")
        return
    before = json.loads(options.compare.read_text())
    differing = [name for name in before.keys() | hashes.keys() if before.get(name) != hashes.get(name)]
    print("\n".join(["differs: " + name for name in sorted(differing)] or [f"all {len(hashes)} requests are equal"]))
    sys.exit(1 if differing else 0)


def _requests() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Forty requests: name, model, body."""
    models = itertools.cycle(("demo", "demo-vpred"))
    sizes, guidance = itertools.cycle(_SIZES), itertools.cycle((3.0, 1.0, 5.0))
    for index, (sampler, reproducible) in enumerate(itertools.product(_SAMPLERS, (False, True))):
        model, (width, height), scale = next(models), next(sizes), next(guidance)
        body = {
            "prompt": f"a red circle on a blue background, {index}",
            "negative_prompt": "(green:1.2)" if index % 3 == 0 else "",
            "seed": index * 1000,
            "sampler": sampler,
            "width": width,
            "height": height,
            "guidance_scale": scale,
            "num_inference_steps": 4 + index % 5,
            "n": 1 + (index % 4 == 0),
            "reproducible": reproducible,
        }
        yield f"{index:02} {model} {sampler} {width}x{height} guidance {scale:g} n={body['n']}", model, body


def _hashes(client: httpx.Client, model: str, body: dict[str, Any]) -> list[str]:
    answer = client.post(f"/generate/{model}", json=body).raise_for_status()
    return [
        hashlib.sha256(Image.open(io.BytesIO(b64decode(image["image"]))).tobytes()).hexdigest()
        for image in answer.json()["images"]
    ]


if __name__ == "__main__":
    main()
