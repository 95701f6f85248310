"""OpenAI's own SDK, and litellm on top of it, against a live server; the pictures are looked at."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import Server
from tests.pictures import opened, psnr, seen_in
from tests.test_docs import blocks
from tests.web.api.test_pictures import drawing, saved

openai = pytest.importorskip("openai", reason="uv run --group clients pytest tests/clients")

PROMPT = "a red circle on a blue background"


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="anything") as client:
        yield client


def files(answer: Any) -> list[bytes]:
    return [base64.b64decode(image.b64_json) for image in answer.data]


def assert_is_a_red_circle(data: bytes) -> None:
    seen = seen_in(data)
    assert (seen.background, seen.figures[0].colour, seen.figures[0].shape) == ("blue", "red", "circle")


def images_made(server: Server) -> float:
    lines = server.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("litestar_diffusion_images_total"))


def test_a_picture_is_made(client: Any) -> None:
    answer = client.images.generate(model="demo", prompt=PROMPT, extra_body={"seed": 7})
    assert_is_a_red_circle(files(answer)[0])
    assert (answer.size, answer.output_format, answer.background) == ("128x128", "png", "opaque")
    assert answer.usage.total_tokens == 0


def test_size_count_format_and_extras_act(client: Any) -> None:
    answer = client.images.generate(
        model="demo",
        prompt=PROMPT,
        n=2,
        size="64x128",
        output_format="jpeg",
        output_compression=80,
        extra_body={"seed": 7, "num_inference_steps": 2, "guidance_scale": 3, "sampler": "euler", "schedule": "karras"},
    )
    pictures = [opened(data) for data in files(answer)]
    assert [(picture.format, picture.size) for picture in pictures] == [("JPEG", (64, 128))] * 2
    assert files(answer)[0] != files(answer)[1]


def test_a_url_leads_to_the_picture(client: Any) -> None:
    answer = client.images.generate(model="demo", prompt=PROMPT, response_format="url", extra_body={"seed": 7})
    fetched = httpx.get(answer.data[0].url)
    assert fetched.headers["content-type"] == "image/png"
    assert_is_a_red_circle(fetched.content)
    with pytest.raises(openai.NotFoundError):
        client.get(f"{answer.data[0].url}x", cast_to=httpx.Response)


@pytest.mark.parametrize("partial_images", [0, 2])
def test_a_stream_shows_unfinished_pictures_and_ends_with_the_finished_one(client: Any, partial_images: int) -> None:
    stream = client.images.generate(
        model="demo",
        prompt=PROMPT,
        stream=True,
        partial_images=partial_images,
        extra_body={"seed": 7, "num_inference_steps": 40},
    )
    *partial, last = list(stream)
    assert len(partial) <= partial_images
    assert bool(partial) is bool(partial_images)
    assert [event.partial_image_index for event in partial] == list(range(len(partial)))
    assert all(opened(base64.b64decode(event.b64_json)).format == "JPEG" for event in partial)
    assert last.type == "image_generation.completed"
    assert last.usage.total_tokens == 0
    assert_is_a_red_circle(base64.b64decode(last.b64_json))


@pytest.mark.parametrize(
    ("said", "kind", "code", "param"),
    [
        ({"model": "dmeo"}, "NotFoundError", "model_not_found", "model"),
        ({"size": "12x"}, "BadRequestError", "invalid_request", "size"),
        ({"size": "100x100"}, "BadRequestError", "invalid_request", "size"),
        ({"n": 11}, "BadRequestError", "invalid_request", "n"),
        ({"extra_body": {"sampler": "euler_z"}}, "BadRequestError", "invalid_request", "sampler"),
    ],
)
def test_errors_are_those_of_the_sdk(client: Any, said: dict[str, Any], kind: str, code: str, param: str) -> None:
    with pytest.raises(getattr(openai, kind)) as caught:
        client.images.generate(**{"model": "demo", "prompt": PROMPT, **said})
    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.request_id


def test_an_error_in_a_stream_is_raised(client: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        list(client.images.generate(model="demo", prompt=PROMPT, stream=True, size="100x100"))


def test_models_are_listed_and_shown(client: Any) -> None:
    names = [model.id for model in client.models.list()]
    assert {"demo", "demo-turbo", "demo-vpred"} <= set(names)
    assert client.models.retrieve("demo").owned_by == "litestar-diffusion"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("dmeo")


def test_a_request_that_is_sent_again_joins_the_work_in_flight(server: Server) -> None:
    """The SDK gives a connection up after its time-out, and sends the request again."""
    before = images_made(server)
    said = {"model": "demo", "prompt": PROMPT, "size": "256x256", "extra_body": {"seed": 3, "num_inference_steps": 100}}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="retries", max_retries=1) as client:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=httpx.Timeout(60, read=0.05)).images.generate(**said)
        answer = client.images.generate(**said)
    assert seen_in(files(answer)[0]).figures[0].colour == "red"
    assert images_made(server) - before == 1
    assert server.client.get("/jobs").json() == []


def test_the_example_of_the_page_runs(server: Server) -> None:
    (example,) = (block for block in blocks("docs/clients.md", "python") if "from openai" in block)
    names: dict[str, Any] = {}
    exec(compile(example.replace("http://127.0.0.1:8000", server.url), "docs/clients.md", "exec"), names)
    assert_is_a_red_circle(files(names["answer"])[0])


def test_an_edit_paints_the_transparent_part_of_the_mask_and_keeps_the_rest(client: Any) -> None:
    mask = Image.new("RGBA", (128, 128), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (64, 0, 128, 128))
    said = {
        "model": "demo",
        "image": ("in.png", drawing()),
        "mask": ("mask.png", saved(mask)),
        "prompt": "a green square",
    }
    (image,) = files(client.images.edit(**said, extra_body={"seed": 3}))
    made, given = (np.asarray(opened(data).convert("RGB")) for data in (image, drawing()))
    assert (made[:, :60] == given[:, :60]).all()
    assert (made[:, 80:] != given[:, 80:]).any()


def test_an_edit_streams_its_unfinished_pictures(client: Any) -> None:
    said = {
        "model": "demo",
        "image": ("in.png", drawing()),
        "prompt": "a green square",
        "stream": True,
        "partial_images": 2,
    }
    kinds = [event.type for event in client.images.edit(**said, extra_body={"num_inference_steps": 40})]
    assert kinds[-1] == "image_edit.completed"
    assert set(kinds[:-1]) == {"image_edit.partial_image"}


# The SDK calls the route deprecated.
@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_variations_are_like_the_picture(client: Any) -> None:
    def varied(strength: float) -> bytes:
        extra = {"strength": strength, "seed": 1}
        (image,) = files(client.images.create_variation(model="demo", image=("in.png", drawing()), extra_body=extra))
        return image

    assert psnr(varied(0.1), drawing()) > psnr(varied(0.9), drawing()) + 0.5


@pytest.mark.filterwarnings("ignore")  # litellm's own models warn as they are made
def test_litellm_makes_a_picture(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it fetches prices otherwise
    litellm = pytest.importorskip("litellm", reason="uv run --group clients pytest tests/clients")
    answer = litellm.image_generation(
        model="openai/demo",
        prompt=PROMPT,
        api_base=f"{server.url}/v1",
        api_key="anything",
        extra_body={"seed": 7},
    )
    assert_is_a_red_circle(base64.b64decode(answer.data[0]["b64_json"]))
