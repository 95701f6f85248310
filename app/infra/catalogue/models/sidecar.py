"""Reads `<name>.toml`, in which a person says what a model is, beside the model's file or folder."""

import codecs
import tomllib
from pathlib import Path

from ....domain.errors import FieldError, InvalidSettings
from ....domain.models.spec import ModelOverrides
from ....domain.requests.samplers import UnknownSampler, parse_sampler
from ....domain.validation import convert_all


def read_sidecar(file: Path) -> ModelOverrides:
    """Read the overrides of a sidecar; none if there is no such file.

    Raises:
        InvalidSettings: naming every wrong key.
    """
    if not file.is_file():
        return ModelOverrides()
    try:
        raw = tomllib.loads(_decoded(file))
    except OSError as error:
        raise _invalid(file, f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid(file, f"is not TOML: {error}") from error
    overrides, errors = convert_all(raw, ModelOverrides)
    if overrides is None:
        raise InvalidSettings(file.name, errors)
    check_sampler(overrides, file.name)
    return overrides


def _decoded(file: Path) -> str:
    """Decode a file that some editors begin with a byte order mark."""
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _invalid(file, "is in UTF-16: save it as UTF-8")
    return content.decode("utf-8-sig")


def check_sampler(overrides: ModelOverrides, origin: str) -> None:
    """See to it that a default sampler exists, so that no client is blamed for it.

    Raises:
        InvalidSettings: it does not.
    """
    if overrides.sampler is None:
        return
    try:
        parse_sampler(overrides.sampler)
    except UnknownSampler as error:
        raise InvalidSettings(origin, [FieldError(field="sampler", message=str(error))]) from error


def config_path(checkpoint: Path, named: str | None) -> Path | None:
    """Return the folder whose component configs replace the shipped ones: the named one, else `<name>.config` if it exists.

    Raises:
        InvalidSettings: the named folder is no plain sibling, or not there.
    """
    if named is None:
        folder = checkpoint.with_suffix(".config")
        return folder if folder.is_dir() else None
    is_plain = bool(named.strip(".")) and not set(named) & set("/\\\0")
    if not is_plain or not (checkpoint.parent / named).is_dir():
        raise InvalidSettings(
            f"What is stated of {checkpoint.name}",
            [FieldError(field="config", message=f"must name a folder beside the file, got {named!r}")],
        )
    return checkpoint.parent / named


def _invalid(file: Path, message: str) -> InvalidSettings:
    return InvalidSettings(file.name, [FieldError(field="file", message=message)])
