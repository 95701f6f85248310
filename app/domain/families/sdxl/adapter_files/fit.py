"""Tells whether an adapter is for SDXL: by the names of its layers, and by the sizes of the weights that they change."""

from collections.abc import Iterable, Iterator

from ...reading import NotServable
from ..tensors.key_tensors import join_problems
from .contents import AdapterLayer
from .layers import Layer, flat_of_all, known_layers

_PROMPT_WIDTHS = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "the SDXL refiner",
}
"""Widths of the prompts that other models read with networks of the same names; SDXL's is 2048."""
_OTHERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Flux", ("double_blocks", "single_blocks", "single_transformer_blocks")),
    ("Stable Diffusion 3", ("joint_blocks", "add_q_proj", "add_k_proj")),
    ("Stable Cascade", ("lora_prior_", "prior_unet")),
    (
        "Stable Diffusion 1.x or 2.x",
        ("down_blocks_0_attentions", "down_blocks.0.attentions", "input_blocks_1_1_", "input_blocks.1.1."),
    ),
    (
        "a transformer, not a UNet",
        (
            "transformer.transformer_blocks",
            "transformer.blocks.",
            "lora_transformer_",
            "diffusion_model.blocks.",
            "lora_unet_blocks_",
        ),
    ),
)
"""Other models, and parts of keys; one key is enough. In order: a later one may have parts of an earlier one."""


def fit_evidence(layers: Iterable[AdapterLayer]) -> str:
    """Tell, in words, by what an adapter is known to be for SDXL.

    Raises:
        NotServable: it is for another model, or for none that is known.
    """
    layers = list(layers)
    _refuse_others(layers)
    unknown = [layer for layer in layers if not any(_places(layer))]
    if unknown:
        named = join_problems([repr(next(iter(layer.keys.values()))) for layer in unknown])
        raise NotServable(f"these of its layers are in no SDXL model: {named}.")
    return _sizes(layers)


def changes(layer: AdapterLayer, places: tuple[Layer, ...]) -> bool:
    """Tell whether the change of a layer has the size of the weight, or of the bias, that a name means."""
    wanted, changed = flat_of_all(places), layer.form.changed
    return changed == wanted or ("diff" not in layer.keys and layer.form.algorithm == "full" and changed == wanted[:1])


def _places(layer: AdapterLayer) -> Iterator[tuple[Layer, ...]]:
    for layers in known_layers(layer.component):
        if layer.name in layers:
            yield layers[layer.name]


def _sizes(layers: list[AdapterLayer]) -> str:
    """Compare the sizes of all layers with SDXL's own: they fit all or none, as those of a smaller relative."""
    misfits = [layer for layer in layers if not any(changes(layer, places) for places in _places(layer))]
    if not misfits:
        return "for SDXL: its layers have SDXL's names and sizes"
    if len(misfits) < len(layers):
        places = next(_places(misfits[0]))
        raise NotServable(
            f"{misfits[0].shown} is changed as if its weight had shape {list(misfits[0].form.changed)}, "
            f"but SDXL's has {list(flat_of_all(places))}; other layers have SDXL's sizes. The file is damaged or mixed from two."
        )
    widths = sorted(set(_prompt_widths(layers)))
    told = f", its prompts are {', '.join(map(str, widths))} wide" if widths else ""
    return f"for a model of SDXL's build with sizes of its own: its layers have SDXL's names, not its sizes{told}"


def _refuse_others(layers: list[AdapterLayer]) -> None:
    keys = "\n".join(next(iter(layer.keys.values())) for layer in layers)
    for model, parts in _OTHERS:
        if any(part in keys for part in parts):
            raise NotServable(f"it is an adapter for {model}; only adapters for SDXL are served.")
    for width in _prompt_widths(layers):
        if width in _PROMPT_WIDTHS:
            raise NotServable(
                f"it is an adapter for {_PROMPT_WIDTHS[width]}: its layers read prompts {width} numbers wide, SDXL's 2048. "
                "Only adapters for SDXL are served."
            )


def _prompt_widths(layers: Iterable[AdapterLayer]) -> Iterator[int]:
    """Yield the widths of the prompts that cross-attention layers read."""
    for layer in layers:
        is_reader = layer.component == "unet" and "attn2" in layer.name and layer.name.endswith(("to_k", "to_v"))
        if is_reader and len(layer.form.changed) == 2:
            yield layer.form.changed[1]
