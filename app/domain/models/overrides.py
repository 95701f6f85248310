"""Overrides of several places put together, and models that are made of nothing but overrides: presets."""

from dataclasses import replace

from .spec import ModelOverrides, ModelSpec

_OF_FILES = ("prediction_type", "zero_snr", "few_step", "dtype", "config", "preview")
"""Overrides that say what files are or how they are loaded, which a preset has none of."""


def merged(above: ModelOverrides, below: ModelOverrides) -> ModelOverrides:
    """Merge two sets of overrides; `above` wins."""
    pairs = {name: (getattr(above, name), getattr(below, name)) for name in ModelOverrides.__struct_fields__}
    return ModelOverrides(**{name: low if high is None else high for name, (high, low) in pairs.items()})


def unfit_for_preset(overrides: ModelOverrides) -> tuple[str, ...]:
    """List the overrides that a preset states although they are about files."""
    return tuple(name for name in _OF_FILES if getattr(overrides, name) is not None)


def preset_of(base: ModelSpec, preset: ModelSpec) -> ModelSpec:
    """Make the entry of a preset: files and traits are those of its base, its own defaults win over the base's.

    Args:
        base: usable, and no preset itself.
        preset: as its sidecar describes it.
    """
    return replace(
        base,
        name=preset.name,
        overrides=merged(preset.overrides, base.overrides),
        evidence=(f"a preset of model {base.name}, with the same files", *preset.evidence, *base.evidence),
        version=f"{preset.version}.{base.version}",
        files_version=base.version,
        base=base.name,
        builtin=preset.builtin,
        aliases=preset.aliases,
    )
