"""Alphas that an adapter's metadata states: PEFT and diffusers write none into the tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ...reading import ReadConfig
from ..tensors.key_tensors import ComponentName
from .layer_patterns import LayerPatterns
from .layers import ADAPTED

_DIFFUSERS = "lora_adapter_metadata"
"""Entry of the metadata in which diffusers writes PEFT's configs. A pipeline writes each field behind the name of its component,
a UNet or a text encoder that is saved alone writes it plain."""
_PEFT_FILE = "adapter_config.json"
_Rank = Annotated[int, Meta(gt=0)]


class _PeftConfig(msgspec.Struct, frozen=True):
    peft_type: str = ""
    r: _Rank | None = None
    rank_pattern: dict[str, _Rank] = {}
    lora_alpha: float | None = None
    alpha: float | None = None
    alpha_pattern: dict[str, float] = {}
    use_rslora: bool = False


@dataclass(frozen=True, slots=True)
class _Stated:
    """The numbers of one component."""

    alpha: float | None
    alphas: LayerPatterns
    numbers: frozenset[float]
    rank: float | None
    ranks: LayerPatterns
    rank_stabilised: bool


@dataclass(frozen=True, slots=True)
class StatedAlphas:
    """Alphas, and ranks that no tensor tells, by component."""

    stated: Mapping[ComponentName, _Stated]

    @property
    def numbers(self) -> tuple[float, ...]:
        """All alphas, without repetition."""
        return tuple(sorted(frozenset[float]().union(*(stated.numbers for stated in self.stated.values()))))

    def alpha(self, component: ComponentName, layer: str) -> float | None:
        """Return the alpha of a layer by its dotted name; None if nothing states it."""
        stated = self.stated[component]
        found = stated.alphas.number(layer)
        return stated.alpha if found is None else found

    def rank(self, component: ComponentName, layer: str) -> float | None:
        """Return the rank of a LoKr of PEFT, by which it divides alpha even if both factors are whole; None for others."""
        stated = self.stated[component]
        found = stated.ranks.number(layer)
        return stated.rank if found is None else found

    def rank_stabilised(self, component: ComponentName) -> bool:
        """Tell whether alpha is divided by the root of the rank (arXiv:2312.03732)."""
        return self.stated[component].rank_stabilised


def read_stated_alphas(metadata: Mapping[str, str], read_config: ReadConfig) -> StatedAlphas:
    """Read what diffusers wrote into the header, else PEFT's config beside the file.

    Raises:
        NotServable: a pattern of layers is not served.
    """
    fields = _decoded(metadata.get(_DIFFUSERS, "").encode()) or _decoded(read_config(_PEFT_FILE) or b"")
    if any(key.startswith(f"{component}.") for component in ADAPTED for key in fields):
        return StatedAlphas({component: _of_component(fields, component) for component in ADAPTED})
    return StatedAlphas(dict.fromkeys(ADAPTED, _stated(fields)))


def _of_component(fields: Mapping[str, Any], component: ComponentName) -> _Stated:
    prefix = f"{component}."
    return _stated({key.removeprefix(prefix): value for key, value in fields.items() if key.startswith(prefix)})


def _stated(fields: Mapping[str, Any]) -> _Stated:
    config = _config(fields)
    alpha = config.alpha if config.lora_alpha is None else config.lora_alpha  # `alpha`: PEFT's LoHa and LoKr
    is_lokr = config.peft_type == "LOKR"
    return _Stated(
        alpha=alpha,
        alphas=LayerPatterns("alpha_pattern", config.alpha_pattern),
        numbers=frozenset(each for each in (alpha, *config.alpha_pattern.values()) if each is not None),
        rank=config.r if is_lokr else None,
        ranks=LayerPatterns("rank_pattern", config.rank_pattern if is_lokr else {}),
        rank_stabilised=config.use_rslora,
    )


def _config(fields: Mapping[str, Any]) -> _PeftConfig:
    try:
        return msgspec.convert(fields, _PeftConfig)
    except msgspec.ValidationError:
        return _PeftConfig()


def _decoded(raw: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any]) if raw else {}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
