"""Which values of the component configs are served, of keys that no size depends on; and which keys change no picture.

Every key of diffusers' and transformers' classes is a field of a struct in `configs`, or in one of these tables.
"""

from collections.abc import Mapping
from typing import Any

from ..reading import NotServable

SERVED_VALUES: Mapping[str, Mapping[str, tuple[object, ...]]] = {
    "unet": {
        "only_cross_attention": (False,),
        "mid_block_only_cross_attention": (None, False),
        "encoder_hid_dim": (None,),
        "encoder_hid_dim_type": (None,),
        "num_attention_heads": (None,),
        "dual_cross_attention": (False,),
        "class_embed_type": (None,),
        "num_class_embeds": (None,),
        "class_embeddings_concat": (False,),
        "addition_embed_type": ("text_time",),
        "resnet_time_scale_shift": ("default",),
        "resnet_skip_time_act": (False,),
        "resnet_out_scale_factor": (1.0,),
        "time_embedding_type": ("positional",),
        "time_embedding_dim": (None,),
        "time_embedding_act_fn": (None,),
        "timestep_post_act": (None,),
        "conv_in_kernel": (3,),
        "conv_out_kernel": (3,),
        "attention_type": ("default",),
        "cross_attention_norm": (None,),
        "quantization_config": (None,),
    },
    "vae": {"quantization_config": (None,)},
    "text_encoder": {"quantization_config": (None,)},
    "text_encoder_2": {"quantization_config": (None,)},
}
"""No published SDXL model has other values of these keys."""

_TRAINING = "acts in training only"
_SELF_DESCRIBING = "says what wrote the file"
_OUTPUTS = "chooses outputs of a call, which are chosen at each call here"
_TEXT: Mapping[str, str] = {
    "attention_dropout": _TRAINING,
    "initializer_range": _TRAINING,
    "initializer_factor": _TRAINING,
    "pad_token_id": "not read by the network; the tokenizer pads",
    "bos_token_id": "not read by the network; the tokenizer begins",
    "transformers_version": _SELF_DESCRIBING,
    "architectures": "the class is that of model_index.json",
    "model_type": "the class is that of model_index.json",
    "_name_or_path": _SELF_DESCRIBING,
    "dtype": "dtype of the file; the setting dtype chooses that of the computation",
    "output_hidden_states": _OUTPUTS,
    "output_attentions": _OUTPUTS,
    "return_dict": _OUTPUTS,
    "chunk_size_feed_forward": "not read by CLIP",
    "is_encoder_decoder": "not read by CLIP",
    "id2label": "of classifiers",
    "label2id": "of classifiers",
    "problem_type": "of classifiers",
}
HARMLESS_KEYS: Mapping[str, Mapping[str, str]] = {
    "unet": {
        "dropout": _TRAINING,
        "upcast_attention": "not read by the attention of PyTorch that diffusers uses",
        "addition_embed_type_num_heads": "read for other values of addition_embed_type only, which are refused",
    },
    "vae": {
        "sample_size": "size of diffusers' own tiles only",
        "shift_factor": "not read by diffusers' pipeline of SDXL",
    },
    "text_encoder": _TEXT,
    "text_encoder_2": _TEXT,
}
"""Keys that have no influence on the picture, and why. Keys that the classes do not have are ignored, as diffusers does."""

_CLIP: Mapping[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "projection_dim": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "hidden_act": "quick_gelu",
    "eos_token_id": 49407,
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "unet": {
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
        "transformer_layers_per_block": 1,
        "attention_head_dim": 8,
        "cross_attention_dim": 1280,
        "use_linear_projection": False,
        "addition_embed_type": None,
        "addition_time_embed_dim": None,
        "projection_class_embeddings_input_dim": None,
    },
    "vae": {
        "block_out_channels": (64,),
        "down_block_types": ("DownEncoderBlock2D",),
        "up_block_types": ("UpDecoderBlock2D",),
        "layers_per_block": 1,
        "scaling_factor": 0.18215,
    },
    "text_encoder": _CLIP,
    "text_encoder_2": _CLIP,
}
"""Values of diffusers' and transformers' classes for keys that a config file lacks, if they are not SDXL's."""


def check_values(component: str, config: Mapping[str, Any]) -> None:
    """Refuse values that are not served.

    Raises:
        NotServable: with the key and the value that is served.
    """
    for key, served in SERVED_VALUES[component].items():
        if key in config and config[key] not in served:
            raise NotServable(
                f"{component}/config.json sets {key} to {str(config[key])[:80]!r}; only {served[0]!r} is served."
            )
