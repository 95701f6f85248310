"""Times the image encoders on one synthetic picture: `python benchmarks/image_encoding.py [side] [repeats]`."""

import io
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.infra.image_encoding import encode

_FACTS = {"parameters": "a red circle\nSteps: 25, Seed: 1", "litestar-diffusion": '{"model": "demo"}'}


def main(side: int = 1024, repeats: int = 5) -> None:
    """Print a table: this package's encoders, and Pillow's defaults beside them."""
    raw = _picture(side)
    picture = Image.frombuffer("RGB", (side, side), raw.pixels, "raw", "RGB", 0, 1)
    rows: dict[str, Callable[[], bytes]] = {
        "png (ours: compress_level 1)": lambda: encode(raw, "png", 95, _FACTS),
        "png (Pillow's default)": lambda: _saved(picture, "PNG"),
        "jpeg 95 (ours: 4:4:4)": lambda: encode(raw, "jpeg", 95, _FACTS),
        "jpeg 75 (Pillow's default)": lambda: _saved(picture, "JPEG"),
        "webp 95 (ours: method 0)": lambda: encode(raw, "webp", 95, _FACTS),
        "webp 80 (Pillow's default)": lambda: _saved(picture, "WEBP"),
        "webp lossless (ours: method 0)": lambda: encode(raw, "webp", 100, _FACTS),
        "webp lossless (Pillow's default)": lambda: _saved(picture, "WEBP", lossless=True),
    }
    print(f"{side} x {side} RGB, median of {repeats}\n")
    print(f"{'encoder':<34}{'ms':>8}{'kB':>8}")
    for name, work in rows.items():
        milliseconds, nbytes = _timed(work, repeats)
        print(f"{name:<34}{milliseconds:>8.1f}{nbytes / 1000:>8.0f}")


def _picture(side: int) -> RawImage:
    """Soft shapes with a little grain, which compress about as well as a generated picture does."""
    y, x = np.mgrid[0:side, 0:side] / side
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y * x + 1), np.sin(5 * (x - y) ** 2)], axis=-1)
    grain = np.random.default_rng(0).normal(0, 2, waves.shape)
    pixels = np.clip(127 + 100 * waves + grain, 0, 255).astype(np.uint8)
    return RawImage(width=side, height=side, pixels=pixels.tobytes())


def _saved(picture: Image.Image, fmt: str, **options: bool) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, fmt, **options)
    return buffer.getvalue()


def _timed(work: Callable[[], bytes], repeats: int) -> tuple[float, int]:
    data = work()
    seconds: list[float] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds), len(data)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
