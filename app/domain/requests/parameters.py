"""The parameters of a generation, and the limits on them."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..models.adapters import AdapterChoice
from ..models.spec import Guidance, TimestepSpacing
from .fields import MAX_COUNT, FileVersion, Priority, Sha256, SidePx, StatedFormat, StatedQuality
from .hires import Hires
from .pictures.picture import FileContent, MaskContent, Resize
from .samplers import SigmaSchedule

RequestedSpacing = TimestepSpacing | Literal["model"]
"""Spacing of the timesteps; `model` is that of the model's own sampler config."""

MAX_SEED = 2**64 - 1
"""Largest seed of torch's generators, and so of ComfyUI. Checked with the limits, because msgspec has bounds of 63 bits only."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on a single request, checked before anything is allocated, and how its prompts are read."""

    max_steps: Annotated[int, Meta(ge=1, le=1000)] = 150
    max_pixels: Annotated[int, Meta(ge=64 * 64, le=MAX_COUNT)] = 2048 * 2048
    """Width times height of one image."""
    min_side_px: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 64
    max_side_px: Annotated[int, Meta(ge=64, le=MAX_COUNT)] = 4096
    max_n: Annotated[int, Meta(ge=1, le=64)] = 8
    max_image_bytes: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 20_000_000
    """Size of an uploaded file, `image` or `mask`."""
    max_image_pixels: Annotated[int, Meta(ge=64 * 64, le=89_000_000)] = 40_000_000
    """Width times height of an uploaded picture. Pillow warns of larger ones than 89 million."""
    max_adapters: Annotated[int, Meta(ge=0, le=64)] = 8
    """Adapters of one request, those of its prompt and of the model's sidecar included."""
    max_prompt_chars: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 4000
    max_conditionings: Annotated[int, Meta(ge=2, le=1000)] = 32
    """Different texts of one request, each of which is encoded, and parts of its prompt, each of which is a row of the batch."""
    reproducible: bool = False
    """Whether requests share no step with others by default."""
    long_prompts: bool = True
    """Whether prompts of more than 75 tokens are used whole by default."""
    prompt_weighting: bool = True
    """Whether brackets in prompts weigh words and change prompts, and `AND` composes them, by default."""


_Pixels = tuple[Annotated[int, Meta(ge=0, le=16384)], Annotated[int, Meta(ge=0, le=16384)]]


class GenerationParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a client; all but the prompt are optional."""

    prompt: Annotated[str, Meta(description="What the image shows.", examples=["a red circle on a blue background"])]
    negative_prompt: (
        Annotated[str, Meta(description="What it should not show. Acts only with guidance above 1.")] | None
    ) = None
    prompt_2: Annotated[str, Meta(description="Prompt for the second text encoder; `prompt` when absent.")] | None = (
        None
    )
    negative_prompt_2: (
        Annotated[str, Meta(description="Negative prompt for the second text encoder; `negative_prompt` when absent.")]
        | None
    ) = None
    adapters: (
        Annotated[
            Sequence[AdapterChoice],
            Meta(
                max_length=64,
                description="LoRAs and their relatives of `GET /adapters` that change the model for this request. "
                "`<lora:name:weight>` in `prompt` means the same. One that the model's sidecar names too has the weights "
                "stated here.",
                examples=[[{"name": "outline", "weight": 0.8}]],
            ),
        ]
        | None
    ) = None
    vae: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=256,
                description="A VAE of `GET /vaes` in place of the model's own; `model`: its own, although its sidecar names "
                "another one.",
            ),
        ]
        | None
    ) = None
    image: (
        Annotated[
            FileContent,
            Meta(
                description="A picture to begin from, a PNG, JPEG, WebP or AVIF file in base64. `width` and `height` default to "
                "its own, rounded down."
            ),
        ]
        | None
    ) = None
    mask: (
        Annotated[
            FileContent,
            Meta(
                description="The part of `image` that is painted again: white, or transparent, in a picture of the same "
                "shape, in base64. The other pixels stay what they are."
            ),
        ]
        | None
    ) = None
    mask_invert: Annotated[bool, Meta(description="Whether `mask` marks what is kept.")] = False
    mask_blur_px: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Pixels inside the border of the mask over which the new part fades into the picture.",
        ),
    ] = 4
    mask_content: Annotated[
        MaskContent,
        Meta(
            description="What the masked part begins from: `original`, the picture; `fill`, the blurred colours around it; "
            "`noise`, noise of the seed in its latents; `nothing`, empty latents. The last two want a `strength` of 0.8 or more."
        ),
    ] = "original"
    mask_padding_px: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=4096,
                description="Paint only the masked part and so many pixels around it, at `width` x `height`, and lay it "
                "over the picture. Default: the whole picture is denoised.",
            ),
        ]
        | None
    ) = None
    strength: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="How much of `image` changes: the share of the steps that are taken. Default: 0.6.",
            ),
        ]
        | None
    ) = None
    image_sha256: (
        Annotated[
            Sha256,
            Meta(
                description="SHA-256 of the file that `image` must be, from a receipt. Another file brings a warning, "
                "none an error.",
            ),
        ]
        | None
    ) = None
    mask_sha256: Annotated[Sha256, Meta(description="`image_sha256` for `mask`.")] | None = None
    resize: Annotated[
        Resize,
        Meta(
            description="What happens if `width` and `height` have another shape than `image`: `crop` cuts, `pad` continues "
            "the borders, and paints them if there is a mask, `stretch` distorts."
        ),
    ] = "crop"
    hires: (
        Annotated[
            Hires,
            Meta(description="A second pass at a larger size: enlarge, then image to image. Only without `image`."),
        ]
        | None
    ) = None
    num_inference_steps: (
        Annotated[int, Meta(ge=1, le=MAX_COUNT, description="Denoising steps. Default: the model's own.")] | None
    ) = None
    guidance_scale: (
        Annotated[
            Guidance,
            Meta(description="How strongly the prompt acts; 1 and below turn guidance off. Default: the model's own."),
        ]
        | None
    ) = None
    guidance_rescale: (
        Annotated[
            float,
            Meta(ge=0, le=1, description="Corrects over-exposure from strong guidance (arXiv:2305.08891, eq. 16)."),
        ]
        | None
    ) = None
    width: Annotated[SidePx, Meta(description="In pixels. Default: the model's own.")] | None = None
    height: Annotated[SidePx, Meta(description="In pixels. Default: the model's own.")] | None = None
    seed: (
        Annotated[
            int, Meta(ge=-1, description="Image i uses seed + i, below 2**64. Absent or -1: random, and reported.")
        ]
        | None
    ) = None
    n: Annotated[int, Meta(ge=1, le=MAX_COUNT, description="How many images. Default: 1.")] = 1
    sampler: (
        Annotated[str, Meta(description="The sampler under any common name, such as `euler_a` or `DPM++ 2M Karras`.")]
        | None
    ) = None
    schedule: (
        Annotated[
            SigmaSchedule,
            Meta(
                description="How noise levels are spread over the steps, as in k-diffusion, AUTOMATIC1111's web UI and ComfyUI; "
                "`model`: by `timestep_spacing`. Default: that of the sampler's name, such as `DPM++ 2M Karras`, else `model`."
            ),
        ]
        | None
    ) = None
    discard_penultimate_sigma: (
        Annotated[
            bool,
            Meta(
                description="Makes noise levels for one step more and leaves out the last but 0, as AUTOMATIC1111's web UI does "
                "for DPM2, DPM2 a and DPM++ 3M SDE. Needs a `schedule` other than `model`. Default: false."
            ),
        ]
        | None
    ) = None
    timestep_spacing: (
        Annotated[
            RequestedSpacing,
            Meta(
                description="How the steps are spread over the trained timesteps; `model`: as the model's own sampler config "
                "says. Default: that of the settings or of the kind of model."
            ),
        ]
        | None
    ) = None
    original_size: (
        Annotated[
            _Pixels,
            Meta(
                description="Height and width in pixels of the picture that the image is cropped from. Default: the image's own."
            ),
        ]
        | None
    ) = None
    crop: Annotated[_Pixels, Meta(description="Top and left in pixels of that crop. Default: 0, 0.")] | None = None
    target_size: (
        Annotated[
            _Pixels,
            Meta(
                description="Height and width in pixels that the crop is like being resized to. Default: the image's own."
            ),
        ]
        | None
    ) = None
    negative_original_size: (
        Annotated[_Pixels, Meta(description="`original_size` for the negative prompt. Default: `original_size`.")]
        | None
    ) = None
    negative_crop: Annotated[_Pixels, Meta(description="`crop` for the negative prompt. Default: `crop`.")] | None = (
        None
    )
    negative_target_size: (
        Annotated[_Pixels, Meta(description="`target_size` for the negative prompt. Default: `target_size`.")] | None
    ) = None
    clip_skip: (
        Annotated[int, Meta(ge=0, le=10, description="Skips this many more of the last layers of both text encoders.")]
        | None
    ) = None
    reproducible: (
        Annotated[
            bool,
            Meta(
                description="Shares no step with other requests, so that the image is the same to the last bit beside any "
                "other work. Slower where much is asked for at once. Default: as the server's settings say."
            ),
        ]
        | None
    ) = None
    long_prompts: (
        Annotated[
            bool,
            Meta(
                description="Reads prompts of more than 75 tokens in chunks of 75, up to 8, each ending at a comma where "
                "one is near; `BREAK` begins a new chunk. Otherwise the rest is cut, with a warning. Default: on."
            ),
        ]
        | None
    ) = None
    prompt_weighting: (
        Annotated[
            bool,
            Meta(
                description="Reads brackets in prompts as weights: `(word)` 1.1, `(word:1.3)` 1.3, `[word]` 1 / 1.1; as changes: "
                "`[from:to:0.5]`, `[a|b]`; and `AND` as a composition. A backslash before a bracket makes it text. Default: on."
            ),
        ]
        | None
    ) = None
    model_version: (
        Annotated[
            FileVersion,
            Meta(
                description="The model's version of an earlier image, from its receipt. If the model's files or settings have "
                "changed since, a warning says so.",
            ),
        ]
        | None
    ) = None
    vae_version: Annotated[FileVersion, Meta(description="`model_version` for `vae`, from a receipt.")] | None = None
    dtype: (
        Annotated[
            str,
            Meta(
                max_length=32,
                description="The dtype that an earlier image was computed in, from its receipt. If this server computes in "
                "another one, a warning says so.",
            ),
        ]
        | None
    ) = None
    embeddings: (
        Annotated[
            dict[Annotated[str, Meta(max_length=255)], Sha256],
            Meta(
                max_length=100,
                description="SHA-256 of the embeddings that an earlier image used, by name, from its receipt. Prompts name the "
                "embeddings themselves; if one is another file now, a warning says so.",
            ),
        ]
        | None
    ) = None
    previews: Annotated[
        bool,
        Meta(description="Whether the events of its job hold small, rough pictures of the image. Default: false."),
    ] = False
    callback_url: (
        Annotated[
            str,
            Meta(
                max_length=2048,
                description="Is told of the end of the job by a signed POST, if the server's settings allow its host. Jobs only.",
                examples=["https://app.example.org/hooks/images"],
            ),
        ]
        | None
    ) = None
    priority: Annotated[
        Priority,
        Meta(
            description="Requests of a higher priority go first, except before one that has waited too long. Default: normal."
        ),
    ] = "normal"
    output_format: StatedFormat = "png"
    output_quality: StatedQuality | None = None
