"""Reads what stands beside a checkpoint: `<name>.toml`, and the component configs that it points at."""

import json
import tomllib
from pathlib import Path
from typing import Any

from ..domain.checkpoint import Widths
from ..domain.errors import FieldError, InvalidSettings
from ..domain.model import ModelOverrides
from ..domain.validation import convert_all

_SHIPPED = Widths()


def read_sidecar(file: Path) -> ModelOverrides:
    """The overrides of a `<name>.toml`; none where there is no such file.

    Raises:
        InvalidSettings: naming every wrong key.
    """
    if not file.is_file():
        return ModelOverrides()
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(file.name, [FieldError(field="file", message=f"is not TOML: {error}")]) from error
    overrides, errors = convert_all(raw, ModelOverrides)
    if overrides is None:
        raise InvalidSettings(file.name, errors)
    return overrides


def config_folder(checkpoint: Path, overrides: ModelOverrides) -> Path | None:
    """The folder whose component configs replace the shipped ones: named by the overrides, else `<name>.config`.

    Raises:
        InvalidSettings: the named folder is no plain sibling, or not there.
    """
    if overrides.config is None:
        folder = checkpoint.with_suffix(".config")
        return folder if folder.is_dir() else None
    folder = checkpoint.parent / overrides.config
    if Path(overrides.config).name != overrides.config or overrides.config in (".", "..") or not folder.is_dir():
        message = f"must name a folder beside the checkpoint, got {overrides.config!r}"
        raise InvalidSettings(checkpoint.with_suffix(".toml").name, [FieldError(field="config", message=message)])
    return folder


def widths_of(folder: Path | None) -> Widths:
    """The sizes that the configs of a folder promise; SDXL's own for what it does not hold."""
    if folder is None:
        return _SHIPPED
    unet, vae = _config(folder, "unet"), _config(folder, "vae")
    one, two = _config(folder, "text_encoder"), _config(folder, "text_encoder_2")
    sample_size = unet.get("sample_size")
    return Widths(
        unet_in_channels=unet.get("in_channels", _SHIPPED.unet_in_channels),
        unet_channels=_first(unet.get("block_out_channels"), _SHIPPED.unet_channels),
        text_1_width=one.get("hidden_size", _SHIPPED.text_1_width),
        text_2_width=two.get("hidden_size", _SHIPPED.text_2_width),
        vae_channels=_first(vae.get("block_out_channels"), _SHIPPED.vae_channels),
        sample_size_px=sample_size * 8 if isinstance(sample_size, int) else _SHIPPED.sample_size_px,
    )


def _config(folder: Path, component: str) -> dict[str, Any]:
    file = folder / component / "config.json"
    try:
        parsed = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        where = f"{folder.name}/{component}/config.json"
        raise InvalidSettings(where, [FieldError(field="file", message=f"cannot be read as JSON: {error}")]) from error
    return parsed if isinstance(parsed, dict) else {}


def _first(values: Any, default: int) -> int:
    return values[0] if isinstance(values, list) and values and isinstance(values[0], int) else default
