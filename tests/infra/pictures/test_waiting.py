"""What waits in the queue holds the files that were sent, and no pixels."""

import asyncio
import io
import tracemalloc

from PIL import Image

from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.infra.pictures.recent import _MAX_NBYTES
from litestar_diffusion.testing import FakeEngine, fake_services

SIDE_PX, REQUESTS = 1024, 40
RASTER_NBYTES = SIDE_PX * SIDE_PX * 3


def file_of(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE_PX, SIDE_PX), (red, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_forty_waiting_pictures_take_the_bytes_of_their_files_and_of_one_cache() -> None:
    async def scenario() -> int:
        engine = FakeEngine()
        services = fake_services(engine=engine)
        engine.gate.clear()
        tracemalloc.start()
        try:
            parameters = (GenerationParameters(prompt="x", image=file_of(red), seed=1) for red in range(REQUESTS))
            work = [
                asyncio.create_task(services.generator.generate("demo", each, client=str(number)))
                for number, each in enumerate(parameters)
            ]
            for _ in range(3000):
                if services.dispatcher.depth == REQUESTS and engine.running:
                    break
                await asyncio.sleep(0.01)
            nbytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        engine.gate.set()
        assert len(await asyncio.gather(*work)) == REQUESTS
        return nbytes

    nbytes = asyncio.run(asyncio.wait_for(scenario(), 60))
    # Those that hold their lease are prepared: the batch, and the next ones.
    assert nbytes < _MAX_NBYTES + 8 * RASTER_NBYTES
    assert nbytes < REQUESTS * RASTER_NBYTES
