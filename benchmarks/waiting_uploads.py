"""What requests hold that wait with uploads: `uv run python benchmarks/waiting_uploads.py`.

Requests with different pictures wait behind one that does not end, on an engine without torch; everything before it is real. The
bytes beside the files themselves are counted by tracemalloc; the growth of the process, whose files are there before, by a second
run in a process without it.
"""

import argparse
import asyncio
import io
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.infra.device.malloc import give_back_freed_memory, keep_freed_memory
from litestar_diffusion.settings import LimitsSettings, Settings
from litestar_diffusion.testing import FakeEngine, fake_services, model
from tests.load.soak import own_nbytes

_UNTRACED = "--untraced"
_GIVEN_BACK_S = 12.0
"""Seconds after which freed memory has been given back: see `FreedMemory`."""
_LOOKS = 1200
"""Times that it is looked, ten a second, whether all requests wait."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=count, default=100, help="that wait (default: 100)")
    parser.add_argument("--side", type=count, default=2048, help="of each picture in pixels (default: 2048)")
    parser.add_argument("--mask", action="store_true", help="send a mask with each picture")
    parser.add_argument(_UNTRACED, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    load = _Load(options.requests, options.side, options.mask)
    if options.untraced:
        sys.stdout.write("{} {}".format(*asyncio.run(_grown(load))))
        return
    accepted, settled = _grown_elsewhere()
    sent, held, peak = asyncio.run(_traced(load))
    title = f"{load.requests} requests wait, {load.side_px} x {load.side_px}{', masks' if load.masked else ''}"
    table = Table("figure", "MB", title=title)
    table.add_row("their files", f"{sent / 1e6:.0f}")
    table.add_row("held beside them, by tracemalloc", f"{held / 1e6:.0f}")
    table.add_row("the most while they were accepted, by tracemalloc", f"{peak / 1e6:.0f}")
    table.add_row("growth of a process without tracemalloc, as the last came to wait", f"{accepted / 1e6:.0f}")
    table.add_row(f"the same {_GIVEN_BACK_S:g} s later, freed memory given back", f"{settled / 1e6:.0f}")
    Console().print(table)


@dataclass(frozen=True, slots=True)
class _Load:
    """What waits."""

    requests: int
    side_px: int
    masked: bool

    def bodies(self) -> list[GenerationParameters]:
        """Make the requests, each with a picture of its own."""
        return [_body(seed, self.side_px, masked=self.masked) for seed in range(self.requests)]


@asynccontextmanager
async def _waiting(bodies: Sequence[GenerationParameters]) -> AsyncGenerator[None]:
    """Have requests wait behind one that does not end."""
    limits = LimitsSettings(max_waiting=len(bodies) + 1, max_waiting_per_client=len(bodies) + 1)
    engine = FakeEngine()
    services = fake_services(model("a"), settings=Settings(limits=limits), engine=engine)
    engine.gate.clear()
    ids = [str(number) for number in range(len(bodies))]
    generate = services.generator.generate
    working = [
        asyncio.create_task(generate("a", body, job_id=job_id)) for job_id, body in zip(ids, bodies, strict=True)
    ]
    for _ in range(_LOOKS):
        queued = sum(services.dispatcher.position(job_id) is not None for job_id in ids)
        if queued + len(engine.running) == len(bodies):
            break
        await asyncio.sleep(0.1)
    else:
        sys.exit("not all requests came to wait")
    yield
    for task in working:
        task.cancel()
    engine.gate.set()  # the job that runs ends at its next step
    await asyncio.wait(working)


async def _traced(load: _Load) -> tuple[int, int, int]:
    """Return the bytes of the files, those held beside them, and the most of these while the requests were accepted."""
    bodies = load.bodies()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    async with _waiting(bodies):
        held, peak = tracemalloc.get_traced_memory()
    return sum(len(body.image or b"") + len(body.mask or b"") for body in bodies), held - before, peak


async def _grown(load: _Load) -> tuple[int, int]:
    """Return the growth of this process when all requests have just come to wait, and once it has given memory back."""
    keep_freed_memory()  # as the server does
    bodies = load.bodies()
    give_back_freed_memory()
    before = own_nbytes("self")
    async with _waiting(bodies):
        accepted = own_nbytes("self") - before
        await asyncio.sleep(_GIVEN_BACK_S)
        return accepted, own_nbytes("self") - before


def _grown_elsewhere() -> tuple[int, int]:
    """Run `_grown` in a process of its own: tracemalloc keeps books that take memory themselves."""
    command = [sys.executable, *sys.argv, _UNTRACED]
    accepted, settled = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(accepted), int(settled)


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


if __name__ == "__main__":
    main()
