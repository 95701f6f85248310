"""Presets: models that are a sidecar alone, with the files of another model and adapters of their own."""

import asyncio
import os
from pathlib import Path

import pytest

from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.infra.catalogue.additions.additions import Additions
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from tests.headers import SDXL, sparse_file
from tests.infra.catalogue.additions.test_additions import lora, put

STYLE = 'base = "base"\nnum_inference_steps = 7\nadapters = [{name = "Ink Style", weight = 0.8}]\n'


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    sparse_file(folder / "base.safetensors", SDXL)
    (folder / "base.toml").write_text("guidance_scale = 3.0\nnum_inference_steps = 30\n")
    put(folder / "loras", "Ink Style")
    (folder / "my-style.toml").write_text(STYLE)
    return folder


def catalogue(models: Path) -> ModelCatalogue:
    return ModelCatalogue(
        directories=[models], overrides={}, hub=(), hub_cache=Path("/nonexistent"), additions=Additions.of([models])
    )


def found(known: ModelCatalogue, name: str) -> ModelSpec:
    return asyncio.run(known.find(name))


def reason(known: ModelCatalogue, name: str = "my-style") -> str:
    listed = {spec.name: spec for spec in asyncio.run(known.refresh())}
    assert listed[found(known, name).name].unusable == found(known, name).unusable
    return found(known, name).unusable or ""


def test_a_preset_has_the_files_and_traits_of_its_base_and_defaults_of_its_own(models: Path) -> None:
    known = catalogue(models)
    base, preset = found(known, "base"), found(known, "my-style")
    assert (preset.name, preset.unusable, preset.source, preset.traits) == ("my-style", None, base.source, base.traits)
    assert preset.weights == base.weights
    stated = preset.overrides
    assert (stated.num_inference_steps, stated.guidance_scale) == (7, 3.0)
    assert [(choice.name, choice.weight) for choice in stated.adapters or ()] == [("Ink Style", 0.8)]
    assert "a preset of model base" in preset.evidence[0]


def test_its_version_changes_with_its_sidecar_and_with_its_base(models: Path) -> None:
    known = catalogue(models)
    versions = [found(known, "my-style").version]
    (models / "my-style.toml").write_text(STYLE.replace("7", "8"))
    versions.append(found(known, "my-style").version)
    (models / "base.toml").write_text("guidance_scale = 4.0\n")
    versions.append(found(known, "my-style").version)
    assert len(set(versions)) == 3


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("base.safetensors", "its base 'base' is no model"),
        ("loras/Ink Style.safetensors", "its adapter 'Ink Style' is not in the models folder"),
    ],
)
def test_what_is_missing_is_the_reason_and_a_preset_heals_by_itself(models: Path, missing: str, said: str) -> None:
    known = catalogue(models)
    away = models.parent / "away"
    (models / missing).rename(away)
    assert said in reason(known)
    away.rename(models / missing)
    assert reason(known) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('base = "bse"', "'bse' is no model. Did you mean 'base'?"),
        ('base = "my-style"', "preset itself"),
        ('base = "base"\nprediction_type = "epsilon"', "prediction_type can only be stated of files"),
        ('base = "base"\nadapters = [{nam = "x"}]', "adapters"),
        (
            'base = "base"\nadapters = [{name = "sd15"}]',
            "its adapter 'sd15' cannot be used: it is an adapter for Stable",
        ),
        ('base = "base"\nvae = "none"', "its VAE 'none' is not in the models folder"),
        ('base = "base"\nnonsense', "is not TOML"),
    ],
)
def test_a_wrong_preset_is_listed_with_the_reason(models: Path, text: str, said: str) -> None:
    put(models / "loras", "sd15", lora(768))
    (models / "my-style.toml").write_text(text)
    assert said in reason(catalogue(models))


def test_a_base_that_cannot_be_used_is_the_reason(models: Path) -> None:
    (models / "base.safetensors").write_bytes(b"x" * 20)
    assert "its base 'base' cannot be used" in reason(catalogue(models))


def test_a_model_with_weights_is_no_preset(models: Path) -> None:
    sparse_file(models / "own.safetensors", SDXL)
    (models / "own.toml").write_text('base = "base"')
    assert "has weights of its own" in reason(catalogue(models), "own")


def test_a_lone_sidecar_without_a_base_is_no_model_until_it_names_one(models: Path) -> None:
    known = catalogue(models)
    (models / "left.toml").write_text("guidance_scale = 3.0\n")
    assert "left" not in {spec.name for spec in asyncio.run(known.refresh())}
    old = models.stat()
    (models / "left.toml").write_text('base = "base"\n')
    os.utime(models, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert found(known, "left").unusable is None


def test_the_sidecar_of_a_model_names_adapters_too(models: Path) -> None:
    (models / "base.toml").write_text('adapters = [{name = "ink style"}]\n')
    known = catalogue(models)
    assert found(known, "base").unusable is None
    (models / "loras" / "Ink Style.safetensors").unlink()
    assert "its adapter 'ink style'" in reason(known, "base")


def test_a_broken_load_of_a_preset_is_remembered_of_its_base(models: Path) -> None:
    known = catalogue(models)
    preset = found(known, "my-style")
    known.mark_unusable(preset.name, preset.version, "a tensor is missing")
    assert found(known, "base").unusable == "a tensor is missing"
    assert "its base 'base' cannot be used" in reason(known)


def test_a_lora_among_the_models_is_told_where_it_belongs(models: Path) -> None:
    put(models, "misplaced")
    assert "Move it into the folder loras/" in reason(catalogue(models), "misplaced")
