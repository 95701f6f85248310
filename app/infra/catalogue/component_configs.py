"""Reads the configs of a model's components from a folder in the diffusers layout."""

from pathlib import Path
from typing import TypeVar

import msgspec

from ...domain.families.sdxl.configs import ComponentConfigs, SamplerConfig, TextEncoderConfig, UnetConfig, VaeConfig
from ...domain.families.sdxl.detection import NotServable

_T = TypeVar("_T", bound=msgspec.Struct)
_SHIPPED = ComponentConfigs()


def read_component_configs(folder: Path) -> ComponentConfigs:
    """The configs of a folder; SDXL's own for what it does not hold.

    Raises:
        NotServable: one of them cannot be read.
    """
    return ComponentConfigs(
        unet=_read(folder, "unet/config.json", UnetConfig) or _SHIPPED.unet,
        vae=_read(folder, "vae/config.json", VaeConfig) or _SHIPPED.vae,
        text_encoder=_read(folder, "text_encoder/config.json", TextEncoderConfig) or _SHIPPED.text_encoder,
        text_encoder_2=_read(folder, "text_encoder_2/config.json", TextEncoderConfig) or _SHIPPED.text_encoder_2,
        sampler=_read(folder, "scheduler/scheduler_config.json", SamplerConfig) or _SHIPPED.sampler,
    )


def config_files(folder: Path) -> tuple[Path, ...]:
    """The files that `read_component_configs` reads, whether they exist or not."""
    components = ("unet", "vae", "text_encoder", "text_encoder_2")
    return (
        folder / "model_index.json",
        folder / "scheduler" / "scheduler_config.json",
        *(folder / component / "config.json" for component in components),
    )


def _read(folder: Path, name: str, struct: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode((folder / name).read_bytes(), type=struct)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotServable(f"{folder.name}/{name} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotServable(f"{folder.name}/{name} is not as it should be: {error}.") from error
