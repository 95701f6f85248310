"""Says of files that no family recognises what they are, as far as the names of their tensors tell."""

from collections.abc import Callable, Iterable

from .reading import DiffusersFolder, Shapes

_MAX_NAMED = 4
_OTHER_MODELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a Flux model", ("double_blocks.",)),
    ("a Stable Diffusion 3 model", ("joint_blocks.",)),
    ("a Stable Diffusion 1.x model", ("cond_stage_model.transformer.",)),
    ("a Stable Diffusion 2.x model", ("cond_stage_model.model.",)),
)
"""Models of other families, and parts of tensor names; one tensor whose name holds one of them is enough."""
_LORA = ("lora_down", "lora_up", "lora_A.", "lora_B.", "lora_unet_", "lora_te", "hada_w1", "lokr_w", ".lora.down")
_NO_MODELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "a LoRA, not a model. Move it into the folder loras/ of your models folder, and name it in a request: it changes a "
        "model.",
        _LORA,
    ),
    (
        "an image upscaler, not a model. Put it into the subfolder upscalers of the models folder.",
        ("RRDB_trunk.0.RDB1", "body.0.rdb1.conv1", "model.1.sub.0.RDB1"),
    ),
    ("a ControlNet, not a model.", ("control_model.", "input_hint_block.", "controlnet_cond_embedding.")),
    ("an IP-Adapter, not a model.", ("image_proj.", "ip_adapter.")),
)
_PARTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (
        "a UNet alone, in diffusers' layout. Put the whole diffusers folder into the models folder.",
        lambda key: key.startswith(("down_blocks.", "up_blocks.")),
    ),
    (
        "a VAE alone. Move it into the folder vae/ of your models folder, and name it in a request or a model's sidecar.",
        lambda key: key.startswith(("encoder.conv_in.", "decoder.conv_in.", "first_stage_model.")),
    ),
    ("a text encoder alone. Use a full checkpoint.", lambda key: key.startswith("text_model.")),
    ("a textual inversion, not a model.", lambda key: key in ("clip_l", "clip_g", "emb_params")),
)


def describe_checkpoint(shapes: Shapes, served: Iterable[str]) -> str:
    """Say what a file is that no family recognises.

    Args:
        shapes: every tensor of its header.
        served: titles of the families that are served.
    """
    known = _known(shapes, served)
    return f"this is {known}" if known else _not_known(shapes, served, "a checkpoint")


def describe_addition(shapes: Shapes, served: Iterable[str], wanted: str) -> str:
    """Say what a file is that no family recognises as an adapter or a VAE.

    Args:
        shapes: every tensor of its header.
        served: titles of the families that are served.
        wanted: what it should be.
    """
    names = "\n".join(shapes)
    if wanted == "adapter" and any(part in names for part in _LORA):
        return f"this is an adapter for a model that is not known; {_only(served)}"
    known = _known(shapes, served)
    article = "an" if wanted == "adapter" else "a"
    return f"this is no {wanted}, but {known}" if known else _not_known(shapes, served, f"{article} {wanted}")


def _known(shapes: Shapes, served: Iterable[str]) -> str | None:
    names = "\n".join(shapes)  # one search through all names takes microseconds, one for each of thousands milliseconds
    for what, parts in _NO_MODELS:
        if any(part in names for part in parts):
            return what
    for what, parts in _OTHER_MODELS:
        if any(part in names for part in parts):
            return f"{what}; {_only(served)}"
    return next((what for what, is_it in _PARTS if any(is_it(key) for key in shapes)), None)


def _not_known(shapes: Shapes, served: Iterable[str], wanted: str) -> str:
    groups = sorted({key.split(".")[0] for key in shapes})
    shown = ", ".join(repr(group[:40]) for group in groups[:_MAX_NAMED])
    more = ", …" if len(groups) > _MAX_NAMED else ""
    holds = f"its tensors begin with {shown}{more}" if groups else "it holds no tensors"
    return f"this is not {wanted} of a known kind ({holds}); {_only(served)}"


def describe_folder(folder: DiffusersFolder, served: Iterable[str]) -> str:
    """Say what a folder is that no family recognises."""
    return f"its model_index.json describes a {folder.pipeline}; {_only(served)}"


def _only(served: Iterable[str]) -> str:
    titles = list(served)
    listed = " and ".join(filter(None, (", ".join(titles[:-1]), titles[-1])))
    return f"only models of {listed} are served."
