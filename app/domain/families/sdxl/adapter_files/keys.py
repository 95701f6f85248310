"""Takes the keys of an adapter's file apart: which network, which layer, and which of its tensors."""

import re
from dataclasses import dataclass
from functools import lru_cache

from ..tensors.key_tensors import ComponentName

_PREFIXES: tuple[tuple[str, ComponentName], ...] = (
    ("lora_unet_", "unet"),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("lycoris_", "unet"),
    ("unet.base_model.model.", "unet"),
    ("text_encoder.base_model.model.", "text_encoder"),
    ("text_encoder_2.base_model.model.", "text_encoder_2"),
    ("base_model.model.unet.", "unet"),
    ("base_model.model.text_encoder.", "text_encoder"),
    ("base_model.model.text_encoder_2.", "text_encoder_2"),
    ("base_model.model.", "unet"),
    ("unet.", "unet"),
    ("text_encoder.", "text_encoder"),
    ("text_encoder_2.", "text_encoder_2"),
    ("model.diffusion_model.", "unet"),
    ("diffusion_model.", "unet"),
    ("text_encoders.clip_l.transformer.", "text_encoder"),
    ("text_encoders.clip_g.transformer.", "text_encoder_2"),
    ("", "unet"),
)
"""Prefixes of keys, the first that fits counts; a LoRA of the UNet alone may have none."""
_KOHYA, _PEFT, _DIFFUSERS = "kohya", "peft", "diffusers"
_OF_LORA = {
    "lora_down.weight": (_KOHYA, "down"),
    "lora_up.weight": (_KOHYA, "up"),
    "lora_mid.weight": (_KOHYA, "mid"),
    "lora.down.weight": (_DIFFUSERS, "down"),
    "lora.up.weight": (_DIFFUSERS, "up"),
    "lora_linear_layer.down.weight": (_DIFFUSERS, "down"),
    "lora_linear_layer.up.weight": (_DIFFUSERS, "up"),
    "lora_A.weight": (_PEFT, "down"),
    "lora_B.weight": (_PEFT, "up"),
    "lora_B.bias": (_PEFT, "up_bias"),
    "lora_magnitude_vector": (_PEFT, "magnitude"),
    "lora_magnitude_vector.weight": (_PEFT, "magnitude"),
    "dora_scale": (None, "dora_scale"),
}
_OF_LYCORIS = (
    *(f"hada_{name}" for name in ("w1_a", "w1_b", "w2_a", "w2_b", "t1", "t2")),
    *(f"lokr_{name}" for name in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")),
)
_PARAMETERS: dict[str, tuple[str | None, str]] = {
    **_OF_LORA,
    **{name: (None, name) for name in (*_OF_LYCORIS, "alpha", "scalar", "diff", "diff_b")},
    "w_norm": (None, "diff"),
    "b_norm": (None, "diff_b"),
}
"""Ends of keys: the trainers' tool that writes them so, and the role of the tensor."""
_MOST_PARTS = 3
_MOST_KEPT = 16_384
"""Keys that are kept, taken apart: adapters of one trainer have the same few thousand, and a folder holds hundreds of files."""
_NAMED_ADAPTER = re.compile(r"\.(lora_A|lora_B|lora_magnitude_vector)\.(?!weight$|bias$)[^.]+(\.weight|\.bias|)$")
"""PEFT's state dict has the adapter's name in the middle, which its own `save_pretrained` leaves out."""
_OLD_PROCESSOR = re.compile(r"(?:\.processor)?\.to_(q|k|v|out)_lora\.(down|up)\.weight$")
"""Attention processors of old versions of diffusers."""
_OLD_UNET = {"q": "to_q", "k": "to_k", "v": "to_v", "out": "to_out.0"}
_OLD_TEXT = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key of an adapter's file, taken apart."""

    component: ComponentName
    layer: str
    """Name of the layer, as the file spells it."""
    role: str
    """Role of the tensor: `down`, `up`, `hada_w1_a`, `alpha`, ..."""
    format: str | None
    """Tool that writes keys like this; None if several do."""


@lru_cache(maxsize=_MOST_KEPT)
def read_key(key: str) -> Key | None:
    """Take a key apart; None if it ends like none of an adapter's."""
    prefix, component = next(entry for entry in _PREFIXES if key.startswith(entry[0]))
    rest = _NAMED_ADAPTER.sub(r".\1\2", key[len(prefix) :])
    old = _OLD_PROCESSOR.search(rest)
    if old is not None:
        names = _OLD_UNET if component == "unet" else _OLD_TEXT
        layer = f"{rest[: old.start()]}.{names[old[1]]}"
        return Key(component=component, layer=layer, role=old[2], format=_DIFFUSERS)
    parts = rest.split(".")
    for count in range(min(_MOST_PARTS, len(parts) - 1), 0, -1):
        parameter = _PARAMETERS.get(".".join(parts[-count:]))
        if parameter is not None:
            stated, role = parameter
            layer = ".".join(parts[:-count]).removesuffix(".processor")
            format_name = _KOHYA if prefix.startswith(("lora_", "lycoris_")) else stated
            return Key(component=component, layer=layer, role=role, format=format_name)
    return None
