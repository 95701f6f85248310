"""Alphas that an adapter's metadata states: PEFT and diffusers write none into the tensors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ...reading import ReadConfig
from ..tensors.key_tensors import ComponentName
from .layers import ADAPTED

_DIFFUSERS = "lora_adapter_metadata"
"""Entry of the metadata in which diffusers writes PEFT's configs, each field behind the name of its component."""
_PEFT_FILE = "adapter_config.json"


class _PeftConfig(msgspec.Struct, frozen=True):
    lora_alpha: float | None = None
    alpha_pattern: dict[str, float] = {}
    use_rslora: bool = False


@dataclass(frozen=True, slots=True)
class StatedAlphas:
    """Configs of PEFT by component."""

    configs: Mapping[ComponentName, _PeftConfig]

    @property
    def numbers(self) -> tuple[float, ...]:
        """All alphas, without repetition."""
        found = {
            alpha for config in self.configs.values() for alpha in (config.lora_alpha, *config.alpha_pattern.values())
        }
        return tuple(sorted(alpha for alpha in found if alpha is not None))

    def alpha(self, component: ComponentName, layer: str) -> float | None:
        """Return the alpha of a layer by its dotted name; None if nothing states it."""
        config = self.configs[component]
        for pattern, alpha in config.alpha_pattern.items():
            if re.search(rf"(^|\.){re.escape(pattern)}$", layer):
                return alpha
        return config.lora_alpha

    def rank_stabilised(self, component: ComponentName) -> bool:
        """Tell whether alpha is divided by the root of the rank (arXiv:2312.03732)."""
        return self.configs[component].use_rslora


def read_stated_alphas(metadata: Mapping[str, str], read_config: ReadConfig) -> StatedAlphas:
    """Read what diffusers wrote into the header, else PEFT's config beside the file."""
    fields = _decoded(metadata.get(_DIFFUSERS, "").encode())
    if fields:
        return StatedAlphas({component: _of_component(fields, component) for component in ADAPTED})
    config = _config(_decoded(read_config(_PEFT_FILE) or b""))
    return StatedAlphas(dict.fromkeys(ADAPTED, config))


def _of_component(fields: Mapping[str, Any], component: ComponentName) -> _PeftConfig:
    prefix = f"{component}."
    return _config({key.removeprefix(prefix): value for key, value in fields.items() if key.startswith(prefix)})


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
