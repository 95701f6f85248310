"""Recognises a diffusers folder: its pipeline, the values of its configs, its tokenizers, every tensor of its weights."""

from collections.abc import Iterator

import msgspec

from ..json_config import decode_config
from ..reading import DiffusersFolder, NotServable, Reading
from ..stated_sampler import check_scheduler, scheduler_class, stated_sampler
from . import tokenizer_files
from .config_values import DEFAULTS, check_values
from .configs import ComponentConfigs, read_component_configs
from .detection import read_pipeline
from .tensors.key_tensors import COMPONENTS, TITLES, ComponentName, component_problems, join_problems

_PIPELINE = "StableDiffusionXL"
"""Prefix of the class names of SDXL's pipelines."""
_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
HARMLESS_KEYS = {
    "add_watermarker": "diffusers' own invisible watermark is not drawn here",
    "requires_aesthetics_score": "not read by the text-to-image pipeline",
    "image_encoder": "used for image prompts only",
    "feature_extractor": "used for image prompts only",
    "_name_or_path": "says what wrote the file",
    "_diffusers_version": "says what wrote the file",
}
"""Keys of `model_index.json` that have no influence on the picture, and why."""
_SCHEDULER = "scheduler/scheduler_config.json"
_TOKENIZERS: tuple[tuple[str, ComponentName], ...] = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


def read_folder(folder: DiffusersFolder) -> Reading | None:
    """Read the traits of a diffusers folder; None if its pipeline is not one of SDXL's.

    What a load would refuse is found here, from configs and headers alone.

    Raises:
        NotServable: it is not an SDXL text-to-image pipeline, or parts of it are missing, have the wrong size or values that
            are not served.
    """
    if not folder.pipeline.startswith(_PIPELINE):
        return None
    configs = read_component_configs(folder.read_config, DEFAULTS)
    reading = read_pipeline(folder.pipeline, configs, *folder.names)
    _refuse_left_out(folder)
    _refuse_values(folder)
    _refuse_unfit(folder, configs)
    return _with_sampler(reading, folder, configs)


def _refuse_left_out(folder: DiffusersFolder) -> None:
    if folder.parts.get("text_encoder_2") is not None and _is_left_out(folder, "text_encoder"):
        raise NotServable("this is the SDXL refiner, which only reworks finished images. Use an SDXL base model.")
    for component in COMPONENTS:
        if _is_left_out(folder, component):
            raise NotServable(f"its model_index.json leaves out the {TITLES[component]}.")
        if folder.read_config(f"{component}/config.json") is None:
            raise NotServable(f"{component}/config.json is missing. Download the whole folder.")
    for part, served in _CLASSES.items():
        stated = folder.parts.get(part)
        if stated is not None and (len(stated) != 2 or stated[1] not in served):
            raise NotServable(f"its model_index.json names {list(stated)} as its {part}; only {served[0]} is served.")


def _is_left_out(folder: DiffusersFolder, component: str) -> bool:
    part = folder.parts.get(component)
    return part is None or None in part


def _refuse_values(folder: DiffusersFolder) -> None:
    zeros = _content(folder, "model_index.json").get("force_zeros_for_empty_prompt", True)
    if not isinstance(zeros, bool):
        raise NotServable(f"its model_index.json sets force_zeros_for_empty_prompt to {zeros!r}; it is true or false.")
    for component in COMPONENTS:
        config = _content(folder, f"{component}/config.json")
        if component == "unet":
            config.setdefault("addition_embed_type", None)
        check_values(component, config)
    stated = _content(folder, _SCHEDULER)
    check_scheduler(scheduler_class(stated, folder.parts.get("scheduler")), stated)


def _content(folder: DiffusersFolder, name: str) -> dict[str, object]:
    content = folder.read_config(name)
    return {} if content is None else decode_config(name, content)


def _refuse_unfit(folder: DiffusersFolder, configs: ComponentConfigs) -> None:
    for component in COMPONENTS:
        config = getattr(configs, component)
        problems = list(config.problems()) or component_problems(component, folder.read_shapes(component), configs)
        if problems:
            raise NotServable(
                f"its {TITLES[component]} does not fit {component}/config.json: {join_problems(problems)}."
            )
    problems = [*_width_problems(configs), *_tokenizer_problems(folder, configs)]
    if problems:
        raise NotServable(f"its parts do not fit together: {join_problems(problems)}.")


def _width_problems(configs: ComponentConfigs) -> Iterator[str]:
    """Compare what the text encoders return with what the UNet takes."""
    unet, encoders = configs.unet, (configs.text_encoder, configs.text_encoder_2)
    width = sum(encoder.hidden_size for encoder in encoders)
    widths = {unet.prompt_width(block) for block in range(len(unet.block_out_channels))}
    if widths != {width}:
        yield f"the UNet's cross_attention_dim must be {width}, the widths of both text encoders, got {sorted(widths)}"
    added = configs.text_encoder_2.projection_dim + _SIZE_NUMBERS * (unet.addition_time_embed_dim or 0)
    if unet.projection_class_embeddings_input_dim != added or not unet.addition_time_embed_dim:
        yield (
            f"the UNet's projection_class_embeddings_input_dim must be {added}, the projection_dim of the second text "
            f"encoder and six times addition_time_embed_dim, got {unet.projection_class_embeddings_input_dim}"
        )


_SIZE_NUMBERS = 6
"""Numbers that tell the UNet the sizes: heights and widths of the original, of the crop's corner and of the target."""


def _tokenizer_problems(folder: DiffusersFolder, configs: ComponentConfigs) -> Iterator[str]:
    lengths: set[int] = set()
    for name, component in _TOKENIZERS:
        encoder = getattr(configs, component)
        vocabulary = tokenizer_files.read_vocabulary(folder.read_config, name)
        if vocabulary is None:  # SDXL's tokenizers share one vocabulary
            vocabulary = tokenizer_files.read_vocabulary(folder.read_config, "tokenizer")
        options = tokenizer_files.read_options(folder.read_config, name)
        lengths.add(options.max_tokens)
        for problem in tokenizer_files.token_problems(vocabulary, options, encoder.vocab_size):
            yield f"{name} {problem}"
        if options.max_tokens > encoder.max_position_embeddings:
            yield (
                f"{name} has a model_max_length of {options.max_tokens}, and the text encoder takes "
                f"{encoder.max_position_embeddings} tokens (max_position_embeddings)"
            )
    if len(lengths) > 1:
        yield f"the tokenizers differ in model_max_length: {sorted(lengths)}"


def _with_sampler(reading: Reading, folder: DiffusersFolder, configs: ComponentConfigs) -> Reading:
    stated = _content(folder, _SCHEDULER)
    scheduler = scheduler_class(stated, folder.parts.get("scheduler"))
    sampler = stated_sampler(scheduler, stated)
    spacing = configs.sampler.timestep_spacing
    traits = msgspec.structs.replace(reading.traits, sampler=sampler, timestep_spacing=spacing)
    evidence = (*reading.evidence, f"sampler {sampler}: its scheduler is {scheduler}")
    return Reading(traits=traits, evidence=evidence, networks=reading.networks, doubts=reading.doubts)
