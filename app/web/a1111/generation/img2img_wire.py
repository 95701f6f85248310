"""What `POST /sdapi/v1/img2img` receives beside the fields of txt2img."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ....domain.requests.pictures.picture import FileContent
from .txt2img_wire import Txt2ImgRequest

_Pixels = Annotated[int, Meta(ge=0)]


class Img2ImgRequest(Txt2ImgRequest, frozen=True, kw_only=True):
    """The fields that the web UI has, each with a default."""

    init_images: Annotated[list[FileContent], Meta(description="One picture in base64, or as a data URL.")] = (
        msgspec.field(default_factory=list[FileContent])
    )
    mask: (
        Annotated[FileContent, Meta(description="White where the picture is painted again; base64 or a data URL.")]
        | None
    ) = None
    denoising_strength: float = 0.75
    resize_mode: Annotated[
        Literal[0, 1, 2, 3], Meta(description="0 stretches, 1 crops, 2 continues the borders; 3 is refused.")
    ] = 0
    mask_blur: Annotated[_Pixels, Meta(le=256)] = 4
    mask_blur_x: int = 4
    mask_blur_y: int = 4
    mask_round: bool = True
    inpainting_fill: Annotated[
        Literal[0, 1, 2, 3],
        Meta(description="What the masked part begins from: 0 blurred colours, 1 the original, 2 noise, 3 nothing."),
    ] = 0
    inpaint_full_res: Annotated[bool, Meta(description="Paint only the masked part, at the size of the request.")] = (
        True
    )
    inpaint_full_res_padding: Annotated[_Pixels, Meta(le=4096)] = 0
    inpainting_mask_invert: Annotated[int, Meta(description="1: the mask marks what is kept.")] = 0
    initial_noise_multiplier: float | None = None
    image_cfg_scale: float | None = None
    include_init_images: Annotated[bool, Meta(description="Ignored: the answer repeats no picture.")] = False
    latent_mask: Annotated[str, Meta(description="Refused.")] | None = None
