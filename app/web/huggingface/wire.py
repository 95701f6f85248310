"""The bodies of Hugging Face's inference API for text-to-image."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...domain.requests.parameters import GenerationParameters
from ...domain.requests.pictures.picture import FileContent

_SCHEDULER = Annotated[
    str, Meta(description="A sampler, or the scheduler of diffusers that it is, such as `DDIMScheduler`.")
]

InferenceParameters = msgspec.defstruct(
    "InferenceParameters",
    [
        ("scheduler", _SCHEDULER | None, None),
        *(
            (parameter.name, parameter.type | None, None)
            for parameter in msgspec.structs.fields(GenerationParameters)
            if parameter.name != "prompt"
        ),
    ],
    module=__name__,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)
"""Every parameter but the prompt, and `scheduler`; null is as good as absent."""


class TargetSize(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size of the picture that `image_to_image` makes."""

    width: Annotated[int, Meta(ge=1)]
    height: Annotated[int, Meta(ge=1)]


PictureParameters = msgspec.defstruct(
    "PictureParameters",
    [
        ("prompt", str | None, None),
        ("target_size", TargetSize | None, None),
        *(
            (parameter.name, parameter.type, None)
            for parameter in msgspec.structs.fields(InferenceParameters)
            if parameter.name not in ("target_size", "image")  # the picture is `inputs`, its size an object
        ),
    ],
    module=__name__,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)
"""Every parameter, `scheduler` and `target_size`."""


class PictureRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `InferenceClient.image_to_image` of huggingface_hub sends."""

    inputs: Annotated[FileContent, Meta(description="The picture to begin from, in base64.")]
    parameters: PictureParameters = msgspec.field(default_factory=PictureParameters)  # pyright: ignore[reportInvalidTypeForm]
    options: Annotated[dict[str, Any], Meta(description="Of Hugging Face's own service; without effect here.")] = {}


class InferenceRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `InferenceClient.text_to_image` of huggingface_hub sends."""

    inputs: Annotated[str, Meta(description="The prompt.", examples=["a red circle on a blue background"])]
    parameters: InferenceParameters = msgspec.field(default_factory=InferenceParameters)  # pyright: ignore[reportInvalidTypeForm]
    options: Annotated[dict[str, Any], Meta(description="Of Hugging Face's own service; without effect here.")] = {}
