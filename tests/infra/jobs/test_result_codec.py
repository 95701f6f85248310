"""Results outlive the process with everything that answers are made of."""

import asyncio
import io
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from litestar_diffusion.domain.generator import Generated, GeneratedImage, Timings
from litestar_diffusion.domain.requests.hires import Hires
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.pictures.picture import NO_UPLOADS, Uploads
from litestar_diffusion.domain.requests.rendering import StepTiming
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.jobs.result_codec import decode_result, encode_result
from litestar_diffusion.infra.pictures.reader import PillowImageReader
from litestar_diffusion.testing import model
from litestar_diffusion.web.api.views import generate_view


def picture(mode: str) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (64, 64)).save(file, "PNG")
    return file.getvalue()


async def generated(**stated: Any) -> Generated:
    parameters = GenerationParameters(prompt="a red circle", n=2, **stated)
    reader = PillowImageReader(Limits())
    uploads: Uploads = await reader.read(parameters.image, parameters.mask) if parameters.image else NO_UPLOADS
    request = resolve(parameters, model("a"), Limits(), random_seed=2**64 - 3, uploads=uploads).request
    return Generated(
        id="1",
        request=request,
        images=tuple(
            GeneratedImage(
                seed=seed, data=bytes([place]) * 9, width=64, height=64, format="png", unfinished=bool(place)
            )
            for place, seed in enumerate(request.seeds)
        ),
        timings=Timings(start_s=0, queue_s=1, load_s=2, encode_s=3, denoise_s=4, decode_s=5, write_s=6, total_s=7),
        found="host",
        step_timings=(StepTiming(rows=2, steps=3, seconds=0.5),),
        savings=("tiled_decode",),
        warnings=("one", "two"),
    )


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"hires": Hires(scale=2.0)},
        {"image": "RGB", "strength": 0.5},
        {"image": "RGB", "mask": "L", "mask_padding_px": 3},
    ],
    ids=["noise", "hires", "image", "mask"],
)
def test_a_result_is_read_as_it_was_written(stated: dict[str, Any]) -> None:
    stated = {key: picture(value) if key in ("image", "mask") else value for key, value in stated.items()}
    before = asyncio.run(generated(**stated))
    text = encode_result(before)
    after = decode_result(text, [image.data for image in before.images])
    assert after == replace(before, request=after.request)
    assert after.request == before.request, "pictures are equal if their digests are"
    assert generate_view(after) == generate_view(before)
    assert len(text) < 4000, "no pixels"
