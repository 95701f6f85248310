"""Bodies and answers of OpenAI's Images API, as its SDK 3.x sends and reads them."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...domain.models.adapters import AdapterChoice
from ...domain.requests.fields import OutputFormat, Priority
from ...domain.requests.pictures.picture import FileContent
from ...domain.requests.samplers import SigmaSchedule

Quality = Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"]
Background = Literal["transparent", "opaque", "auto"]


class ImagesBody(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /v1/images/generations`. Fields that are not listed are ignored, and named in `x-warnings`."""

    events: ClassVar[str] = "image_generation"
    """Beginning of the names of its events."""
    prompt: Annotated[str, Meta(description="What the image shows.", examples=["a red circle on a blue background"])]
    model: Annotated[str, Meta(description="Name or alias of a model. Default: the server's default model.")] | None = (
        None
    )
    n: Annotated[int, Meta(ge=1, le=10, description="How many images. Default: 1.")] | None = None
    size: (
        Annotated[
            str,
            Meta(
                description="Width x height in pixels, or `auto` for the model's own. Default: `auto`.",
                examples=["1024x1024"],
            ),
        ]
        | None
    ) = None
    quality: (
        Annotated[
            Quality,
            Meta(
                description="Steps, as a part of the model's own number: `low` half, `medium`, `standard` and `auto` all, "
                "`high` and `hd` one and a half times, `xhigh` and `max` twice as many."
            ),
        ]
        | None
    ) = None
    output_format: Annotated[OutputFormat, Meta(description="Default: png.")] | None = None
    output_compression: (
        Annotated[int, Meta(ge=0, le=100, description="Quality of jpeg and webp. Default: 100.")] | None
    ) = None
    response_format: (
        Annotated[
            Literal["url", "b64_json"],
            Meta(description="`url`: the image is served by this server for an hour. Default: `b64_json`."),
        ]
        | None
    ) = None
    background: Annotated[Background, Meta(description="Images are opaque; `transparent` brings a warning.")] | None = (
        None
    )
    stream: Annotated[bool, Meta(description="Answer with server-sent events.")] | None = None
    partial_images: (
        Annotated[int, Meta(ge=0, le=3, description="Unfinished images in the stream, small and rough.")] | None
    ) = None
    negative_prompt: str | None = None
    seed: Annotated[int, Meta(ge=-1)] | None = None
    num_inference_steps: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    guidance_scale: Annotated[float, Meta(ge=0, le=100)] | None = None
    sampler: str | None = None
    schedule: SigmaSchedule | None = None
    priority: Priority | None = None
    adapters: (
        Annotated[
            list[AdapterChoice],
            Meta(
                max_length=64,
                description="LoRAs and their relatives of `GET /adapters`; `<lora:name:weight>` in the prompt means the same.",
            ),
        ]
        | None
    ) = None
    vae: Annotated[str, Meta(min_length=1, max_length=256, description="A VAE of `GET /vaes`.")] | None = None


class EditsBody(ImagesBody, frozen=True, kw_only=True):
    """The form of `POST /v1/images/edits`."""

    events: ClassVar[str] = "image_edit"
    image: Annotated[FileContent, Meta(description="The picture to begin from, as a file `image` or `image[]`.")]
    mask: (
        Annotated[
            FileContent, Meta(description="Transparent, or white, where the picture is painted again; as a file.")
        ]
        | None
    ) = None
    strength: (
        Annotated[float, Meta(gt=0, le=1, description="How much of the picture changes. Default: 0.6; 1 with a mask.")]
        | None
    ) = None


class VariationsBody(EditsBody, frozen=True, kw_only=True):
    """The form of `POST /v1/images/variations`."""

    prompt: Annotated[str, Meta(description="What the image shows; empty if absent.")] = ""


class UsageDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens by kind."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, which cost nothing here: all are 0."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_tokens_details: UsageDetails = UsageDetails()


class ImageData(msgspec.Struct, frozen=True, kw_only=True):
    """One image."""

    b64_json: Annotated[bytes, Meta(description="The file in base64.")] | UnsetType = UNSET
    url: Annotated[str, Meta(description="Address of the file, for an hour.")] | UnsetType = UNSET
    revised_prompt: str | UnsetType = UNSET


class ImagesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The images of a request."""

    created: Annotated[int, Meta(description="Seconds since 1970.")]
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: OutputFormat
    quality: Literal["low", "medium", "high", "xhigh", "max"]
    size: str
    usage: Usage = Usage()


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """One model."""

    id: str
    object: Literal["model"] = "model"
    created: Annotated[int, Meta(description="Always 0: files have no date of creation that means anything.")] = 0
    owned_by: str = "litestar-diffusion"


class ModelsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All models that can be used."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class ErrorObject(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong."""

    message: str
    type: str
    param: Annotated[str, Meta(description="The field that is wrong.")] | None
    code: str


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An error, as OpenAI's SDK reads it."""

    error: ErrorObject
