"""What requests hold that wait with uploads: `uv run python benchmarks/waiting_uploads.py`.

Requests with different pictures wait behind one that does not end, on an engine without torch; everything before it is real. The
bytes beside the files themselves are counted by tracemalloc, and the growth of the process.
"""

import argparse
import asyncio
import io
import sys
import tracemalloc
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.settings import LimitsSettings, Settings
from litestar_diffusion.testing import FakeEngine, fake_services, model

_LOOKS = 1200
"""Times that it is looked, ten a second, whether all requests wait."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=count, default=100, help="that wait (default: 100)")
    parser.add_argument("--side", type=count, default=2048, help="of each picture in pixels (default: 2048)")
    parser.add_argument("--mask", action="store_true", help="send a mask with each picture")
    options = parser.parse_args()
    asyncio.run(_measure(options.requests, options.side, masked=options.mask))


async def _measure(requests: int, side_px: int, *, masked: bool) -> None:
    services = fake_services(
        model("a"),
        settings=Settings(limits=LimitsSettings(max_waiting=requests + 1, max_waiting_per_client=requests + 1)),
        engine=(engine := FakeEngine()),
    )
    engine.gate.clear()
    bodies = [_body(seed, side_px, masked=masked) for seed in range(requests)]
    sent_nbytes = sum(len(body.image or b"") + len(body.mask or b"") for body in bodies)
    tracemalloc.start()
    held, resident = tracemalloc.get_traced_memory()[0], _resident_nbytes()
    ids = [str(number) for number in range(requests)]
    generate = services.generator.generate
    working = [
        asyncio.create_task(generate("a", body, job_id=job_id)) for job_id, body in zip(ids, bodies, strict=True)
    ]
    for _ in range(_LOOKS):
        queued = sum(services.dispatcher.position(job_id) is not None for job_id in ids)
        if queued + len(engine.running) == requests:
            break
        await asyncio.sleep(0.1)
    else:
        sys.exit("not all requests came to wait")
    held, peak = tracemalloc.get_traced_memory()[0] - held, tracemalloc.get_traced_memory()[1]
    table = Table("figure", "MB", title=f"{requests} requests wait, {side_px} x {side_px}{', masks' if masked else ''}")
    table.add_row("their files", f"{sent_nbytes / 1e6:.0f}")
    table.add_row("held beside them", f"{held / 1e6:.0f}")
    table.add_row("the most while they were accepted", f"{peak / 1e6:.0f}")
    table.add_row("growth of the process", f"{(_resident_nbytes() - resident) / 1e6:.0f}")
    Console().print(table)
    for task in working:
        task.cancel()
    await asyncio.wait(working)


def _body(seed: int, side_px: int, *, masked: bool) -> GenerationParameters:
    coarse = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    size = (side_px, side_px)
    picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    mask = _encoded(picture.convert("L").point([0] * 128 + [255] * 128), "PNG") if masked else None
    return GenerationParameters(prompt="x", image=_encoded(picture, "JPEG"), mask=mask, strength=1.0)


def _encoded(picture: Image.Image, fmt: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, fmt)
    return buffer.getvalue()


def _resident_nbytes() -> int:
    fields = Path("/proc/self/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) * 1024


if __name__ == "__main__":
    main()
