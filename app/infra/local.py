"""Catalogue entries for what lies in a models folder: single-file checkpoints and diffusers folders."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from ..domain.checkpoint import NotServable, Reading, apply_overrides, few_step_from_words, read_traits
from ..domain.errors import InvalidSettings
from ..domain.model import (
    MODEL_NAME_PATTERN,
    Checkpoint,
    Folder,
    ModelName,
    ModelOverrides,
    ModelSource,
    ModelSpec,
    ModelTraits,
)
from .header import BrokenFile, read_header
from .sidecar import config_folder, read_sidecar, widths_of

PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
_COMPONENTS = ("unet", "vae", "text_encoder", "text_encoder_2")
_PICKLE_REASON = (
    "it is a pickle. Pickles can run code when they are loaded and are never opened here: convert it to .safetensors "
    "with a tool that you trust."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file or folder that may be a model, and what its entry depends on."""

    path: Path
    fingerprint: str

    @property
    def name(self) -> str:
        """The model's name: the file name without suffix, or the folder's."""
        return self.path.name if self.path.is_dir() and self.path.suffix != ".safetensors" else self.path.stem


def candidates(directory: Path) -> Iterator[Candidate]:
    """Everything in a folder that looks like a model, in alphabetical order. Reads no file."""
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    for path in entries:
        if path.name.startswith(".") or path.suffix == ".config":
            continue
        if path.suffix == ".safetensors" or path.suffix in PICKLES or (path / "model_index.json").is_file():
            yield candidate_of(path)


def candidate_of(path: Path) -> Candidate:
    """A single path as a candidate, whatever it is."""
    return Candidate(path, _fingerprint(path))


def describe(candidate: Candidate, stated: ModelOverrides, *, builtin: bool) -> ModelSpec:
    """The entry of a candidate; a broken one's says why. Never raises for what is in the files.

    Args:
        candidate: the file or folder.
        stated: what the settings say of this model.
        builtin: whether it ships with the package.
    """
    source: ModelSource = Checkpoint(path=candidate.path)
    if candidate.path.is_dir() and candidate.path.suffix != ".safetensors":
        source = Folder(path=candidate.path)
    name = ModelName(candidate.name)
    spec = ModelSpec(
        name=name, source=source, traits=ModelTraits(), overrides=stated, version=candidate.fingerprint, builtin=builtin
    )
    try:
        if not re.match(MODEL_NAME_PATTERN, name):
            raise NotServable(
                "its name holds characters that cannot stand in a URL. Rename it to letters, digits, . _ and -."
            )
        if candidate.path.suffix in PICKLES:
            raise NotServable(_PICKLE_REASON)
        sidecar = read_sidecar(candidate.path.parent / f"{name}.toml")
        return _described(spec, sidecar)
    except (NotServable, BrokenFile, InvalidSettings) as error:
        return replace(spec, unusable=str(error))


def _described(spec: ModelSpec, sidecar: ModelOverrides) -> ModelSpec:
    overrides = merged(spec.overrides, sidecar)
    if isinstance(spec.source, Checkpoint):
        folder = config_folder(spec.source.path, overrides)
        header = read_header(spec.source.path)
        reading = read_traits(header.shapes, header.metadata, spec.name, widths_of(folder))
        source, nbytes = Checkpoint(path=spec.source.path, config=folder), header.nbytes
    else:
        assert isinstance(spec.source, Folder)
        source, nbytes = spec.source, _weights_nbytes(spec.source.path)
        reading = read_folder(spec.source.path, spec.name)
    reading = apply_overrides(reading, sidecar, "the sidecar")
    reading = apply_overrides(reading, spec.overrides, "the settings file")
    return replace(
        spec,
        source=source,
        traits=reading.traits,
        evidence=reading.evidence,
        overrides=overrides,
        dtype=overrides.dtype or "auto",
        nbytes=nbytes,
    )


def merged(above: ModelOverrides, below: ModelOverrides) -> ModelOverrides:
    """Two sets of overrides in one; `above` wins."""
    stated = {key: value for key, value in msgspec.structs.asdict(above).items() if value is not None}
    plain = ModelOverrides(**{key: getattr(below, key) for key in ModelOverrides.__struct_fields__})
    known = {key: value for key, value in stated.items() if key in ModelOverrides.__struct_fields__}
    return msgspec.structs.replace(plain, **known)


def read_folder(folder: Path, name: str) -> Reading:
    """The traits of a diffusers folder, from its configs.

    Raises:
        NotServable: it is not an SDXL text-to-image pipeline.
    """
    index = _json(folder / "model_index.json")
    pipeline = str(index.get("_class_name", "nothing"))
    if not pipeline.startswith("StableDiffusionXL") or "Inpaint" in pipeline or "text_encoder" not in index:
        raise NotServable(f"its model_index.json describes {pipeline}; only StableDiffusionXLPipeline is served.")
    sampler, unet = _json(folder / "scheduler" / "scheduler_config.json"), _json(folder / "unet" / "config.json")
    prediction = "v_prediction" if sampler.get("prediction_type") == "v_prediction" else "epsilon"
    zero_snr = bool(sampler.get("rescale_betas_zero_snr", False))
    few_step, how = few_step_from_words({}, name)
    sample_size = unet.get("sample_size")
    traits = ModelTraits(
        prediction_type=prediction,
        zero_snr=zero_snr,
        few_step=few_step,
        size_px=sample_size * 8 if isinstance(sample_size, int) else 1024,
    )
    config = "scheduler/scheduler_config.json"
    return Reading(
        traits=traits,
        evidence=(
            f"SDXL base: model_index.json describes {pipeline}",
            f"{prediction} prediction: {config}",
            f"zero terminal SNR {'on' if zero_snr else 'off'}: {config}",
            how,
        ),
    )


def _weights_nbytes(folder: Path) -> int:
    """Bytes of weights of a diffusers folder, every header checked.

    Raises:
        NotServable: a component has no safetensors weights.
        BrokenFile: one of its files is broken.
    """
    total = 0
    for component in _COMPONENTS:
        files = sorted((folder / component).glob("*.safetensors"))
        if not files:
            pickles = any(p.suffix in PICKLES for p in (folder / component).glob("*"))
            raise NotServable(
                f"its {component} {'is a pickle' if pickles else 'is missing'}; safetensors weights are needed."
            )
        for file in files:
            try:
                total += read_header(file).nbytes
            except BrokenFile as error:
                raise BrokenFile(f"{component}/{file.name}: {error}") from error
    return total


def _json(file: Path) -> dict[str, Any]:
    try:
        parsed = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotServable(f"{file.parent.name}/{file.name} cannot be read as JSON: {error}.") from error
    return parsed if isinstance(parsed, dict) else {}


def _fingerprint(path: Path) -> str:
    """Changes when the file, its sidecar or its config folder changes."""
    sidecar = path.parent / f"{path.name if (path / 'model_index.json').is_file() else path.stem}.toml"
    related = [path, sidecar, path.with_suffix(".config"), path / "model_index.json"]
    return ";".join(_stat(file) for file in related)


def _stat(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "-"
    return f"{stat.st_ino}.{stat.st_size}.{stat.st_mtime_ns}.{stat.st_mode}"
