"""What `POST /sdapi/v1/txt2img` receives and answers."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ....domain.requests.fields import MAX_COUNT

_Count = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
_CountOrNone = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
"""0 stands for an absent number."""


class Txt2ImgRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that the web UI has, each with a default. An absent one means the model's own value."""

    prompt: Annotated[str, Meta(examples=["a red circle on a blue background"])] = ""
    negative_prompt: str | None = None
    styles: Annotated[list[str], Meta(description="Refused: there are no styles here.")] = []
    seed: Annotated[int, Meta(ge=-1, le=2**63 - 1, description="Image i uses seed + i; -1: random, and reported.")] = -1
    steps: _Count | None = None
    cfg_scale: Annotated[float, Meta(ge=0, le=100)] | None = None
    width: _Count | None = None
    height: _Count | None = None
    batch_size: _Count = 1
    n_iter: Annotated[_Count, Meta(description="The images are batch_size times n_iter.")] = 1
    sampler_name: Annotated[str, Meta(description="`GET /sdapi/v1/samplers` lists them.", examples=["DPM++ 2M"])] = ""
    sampler_index: Annotated[str | int, Meta(description="Older name of sampler_name.")] = ""
    scheduler: Annotated[str, Meta(description="`GET /sdapi/v1/schedulers` lists them.", examples=["Karras"])] = ""
    override_settings: Annotated[
        dict[str, Any], Meta(description="Options for this request alone, such as `sd_model_checkpoint`.")
    ] = {}
    override_settings_restore_afterwards: Annotated[
        bool, Meta(description="`false`: the options of override_settings stay those of the client.")
    ] = True
    send_images: bool = True
    save_images: Annotated[bool, Meta(description="Ignored: the server stores no images.")] = False
    alwayson_scripts: Annotated[
        dict[str, Any],
        Meta(description="Ignored, with a warning in `info`; ControlNet units and the refiner are refused."),
    ] = {}
    script_name: Annotated[str, Meta(description="Ignored, with a warning in `info`.")] = ""
    script_args: list[Any] = []
    enable_hr: Annotated[bool, Meta(description="A second pass at a larger size.")] = False
    tiling: Annotated[bool, Meta(description="Refused if true.")] = False
    restore_faces: Annotated[bool, Meta(description="Refused if true.")] = False
    refiner_checkpoint: Annotated[str, Meta(description="Refused unless empty.")] = ""
    refiner_switch_at: float = 0.0
    subseed: int = -1
    subseed_strength: Annotated[float, Meta(description="Refused unless 0.")] = 0.0
    seed_resize_from_h: Annotated[int, Meta(description="Refused if positive.")] = 0
    seed_resize_from_w: Annotated[int, Meta(description="Refused if positive.")] = 0
    infotext: Annotated[str, Meta(description="Refused unless empty: send its fields.")] = ""
    eta: Annotated[float, Meta(description="Ignored: 1 for ancestral samplers, 0 for DDIM.")] | None = None
    s_min_uncond: float = 0.0
    s_churn: float = 0.0
    s_tmax: float = 0.0
    s_tmin: float = 0.0
    s_noise: float = 1.0
    denoising_strength: Annotated[float, Meta(description="Of the second pass. Default: 0.75.")] | None = None
    firstphase_width: int = 0
    firstphase_height: int = 0
    hr_scale: Annotated[
        float, Meta(description="Factor of both sides, at most 8, unless `hr_resize_x` or `hr_resize_y` is set.")
    ] = 2.0
    hr_upscaler: Annotated[
        str,
        Meta(
            description="Of `GET /sdapi/v1/latent-upscale-modes` or `GET /sdapi/v1/upscalers`. Default: `Latent`.",
            examples=["Latent"],
        ),
    ] = ""
    hr_second_pass_steps: Annotated[_CountOrNone, Meta(description="0: as many as `steps`.")] = 0
    hr_resize_x: _CountOrNone = 0
    hr_resize_y: _CountOrNone = 0
    hr_checkpoint_name: Annotated[str, Meta(description="Refused unless empty, with `enable_hr`.")] = ""
    hr_sampler_name: str = ""
    hr_scheduler: str = ""
    hr_prompt: Annotated[str, Meta(description="Refused unless empty, with `enable_hr`.")] = ""
    hr_negative_prompt: Annotated[str, Meta(description="Refused unless empty, with `enable_hr`.")] = ""
    do_not_save_samples: bool = True
    do_not_save_grid: bool = True
    disable_extra_networks: bool = False
    comments: dict[str, Any] = {}
    force_task_id: str = ""


class Txt2ImgAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of the web UI."""

    images: Annotated[list[bytes], Meta(description="The files in base64; empty if `send_images` is false.")]
    parameters: Annotated[Txt2ImgRequest, Meta(description="The request, defaults filled in.")]
    info: Annotated[str, Meta(description="A JSON object as text: seeds, infotexts, warnings.")]


class GenerationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON object in `info`."""

    prompt: str
    all_prompts: list[str]
    negative_prompt: str
    all_negative_prompts: list[str]
    seed: int
    all_seeds: list[int]
    subseed: int
    all_subseeds: list[int]
    subseed_strength: float
    width: int
    height: int
    sampler_name: str
    cfg_scale: float
    steps: int
    batch_size: int
    restore_faces: bool
    face_restoration_model: str | None
    sd_model_name: str
    sd_model_hash: str
    sd_vae_name: str | None
    sd_vae_hash: str | None
    seed_resize_from_w: int
    seed_resize_from_h: int
    denoising_strength: float | None
    extra_generation_params: dict[str, str]
    index_of_first_image: int
    infotexts: list[str]
    styles: list[str]
    job_timestamp: str
    clip_skip: int
    is_using_inpainting_conditioning: bool
    version: str
    interrupted: bool
    """Whether an image is unfinished, or missing; not part of the web UI's answer."""
    warnings: list[str]
    """What was changed, ignored or cut; not part of the web UI's answer."""
