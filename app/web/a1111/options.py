"""Options of one client: those of the web UI's settings that change a picture. Pure functions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...domain.errors import InvalidRequest
from ...domain.requests.additions import OWN_VAE
from ...domain.requests.fields import OutputFormat
from ...domain.validation import convert_all, cut

_FORMATS: Mapping[str, OutputFormat] = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
_MAX_WARNINGS = 20


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options that act; a client may send all others, and they change nothing."""

    sd_model_checkpoint: Annotated[str, Meta(description="Name of the client's model.")] = ""
    CLIP_stop_at_last_layers: Annotated[
        int, Meta(ge=1, le=12, description="Acts above the layer that the kind of model is read at: 2 for SDXL.")
    ] = 1
    samples_format: Literal["png", "jpg", "jpeg", "webp"] = "png"
    jpeg_quality: Annotated[int, Meta(ge=1, le=100, description="For jpg and webp.")] = 80
    live_previews_enable: Annotated[bool, Meta(description="Whether `progress` shows the unfinished image.")] = True
    sd_vae: Annotated[
        str,
        Meta(
            max_length=256,
            description="A VAE of `GET /sdapi/v1/sd-vae`; `Automatic`: that of the model's sidecar, or its own; `None`: the "
            "model's own.",
        ),
    ] = "Automatic"

    @property
    def vae(self) -> str | None:
        """VAE in the words of the native parameters."""
        return {"Automatic": None, "": None, "None": OWN_VAE}.get(self.sd_vae, self.sd_vae)

    @property
    def output_format(self) -> OutputFormat:
        """Format of the image files."""
        return _FORMATS[self.samples_format]


_ACTING = frozenset(Options.__struct_fields__)


def changed(options: Options, sent: Mapping[str, Any]) -> Options:
    """Return options with those replaced that a client has sent; unknown ones are left out.

    Raises:
        InvalidRequest: with every value that an option cannot have.
    """
    ours = {name: value for name, value in sent.items() if name in _ACTING and value is not None}
    converted, errors = convert_all(ours, Options, strict=False)
    if converted is None:
        raise InvalidRequest(errors)
    return msgspec.structs.replace(options, **{name: getattr(converted, name) for name in ours})


def ignored(overrides: Mapping[str, Any]) -> list[str]:
    """Return a warning for each override that changes nothing."""
    unknown = [name for name in overrides if name not in _ACTING]
    return [f"override_settings.{cut(name)} was ignored: this server has no such option." for name in unknown][
        :_MAX_WARNINGS
    ]
