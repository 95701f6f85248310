"""Adapters and VAEs over real files: where they are found, how they are named, and what is said of those that cannot be used."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from litestar_diffusion.domain.errors import UnknownAdapter
from litestar_diffusion.domain.models.adapters import AdapterSpec
from litestar_diffusion.infra.catalogue.additions.additions import Additions
from tests.headers import SDXL, Shapes, sparse_file

KEY = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
TAGS = {"ss_tag_frequency": '{"10_ink": {"ink drawing": 12, "cat": 3}}', "ss_output_name": "Ink"}


def lora(width: int = 2048) -> Shapes:
    return {f"{KEY}.lora_down.weight": (4, width), f"{KEY}.lora_up.weight": (640, 4), f"{KEY}.alpha": ()}


def put(folder: Path, name: str, shapes: Shapes | None = None, **metadata: str) -> Path:
    file = folder / f"{name}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    return sparse_file(file, shapes or lora(), metadata or None)


def all_of(additions: Additions) -> dict[str, AdapterSpec]:
    return {spec.name: spec for spec in asyncio.run(additions.adapters.refresh())}


def reason(additions: Additions, name: str) -> str:
    return all_of(additions)[name].unusable or ""


def found(additions: Additions, name: str) -> str:
    return asyncio.run(additions.adapters.find(name)).name


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_files_in_loras_are_adapters_with_what_their_headers_tell(models: Path) -> None:
    put(models / "loras", "Ink Style v2", None, **TAGS)
    (spec,) = all_of(Additions.of([models])).values()
    assert spec.name == "Ink-Style-v2"
    assert spec.reading is not None
    assert (spec.reading.family, spec.reading.format, spec.reading.ranks) == ("sdxl", "kohya", (4,))
    assert (spec.reading.title, spec.reading.trigger_words) == ("Ink", ("ink drawing", "cat"))
    assert spec.numbers == 4 * 2048 + 640 * 4 + 1


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Ink-Style-v2", "Ink-Style-v2"),
        ("Ink Style v2", "Ink-Style-v2"),
        ("ink style V2", "Ink-Style-v2"),
        ("Ink Style v2.safetensors", "Ink-Style-v2"),
        ("old/deep/Ink", "old--deep--Ink"),
        ("ink", "old--deep--Ink"),
        ("線画", "線画"),
        ("peft-style", "peft-style--adapter_model"),
    ],
)
def test_an_adapter_is_found_by_its_name_its_file_or_its_folder_in_any_case(
    models: Path, asked: str, name: str
) -> None:
    for file in ("Ink Style v2", "old/deep/Ink", "線画", "peft-style/adapter_model"):
        put(models / "loras", file)
    assert found(Additions.of([models]), asked) == name


def test_a_spelling_that_may_mean_several_means_none_and_lists_them(models: Path) -> None:
    for file in ("a/ink", "b/ink", "other"):
        put(models / "loras", file)
    with pytest.raises(UnknownAdapter) as caught:
        found(Additions.of([models]), "INK")
    assert caught.value.available == ("a--ink", "b--ink")


def test_folders_of_other_programs_are_searched_too(models: Path) -> None:
    put(models / "Lora", "one")
    put(models / "LyCORIS", "two")
    assert set(all_of(Additions.of([models]))) == {"one", "two"}


def test_each_models_folder_has_adapters_and_the_first_one_wins_a_name(models: Path, tmp_path: Path) -> None:
    other = tmp_path / "builtin"
    put(models / "loras", "ink")
    put(other / "loras", "ink", lora(), note="hidden")
    put(other / "loras", "outline")
    additions = Additions.of([models, other], builtin=other)
    with capture_logs() as lines:
        specs = all_of(additions)
    assert [(name, spec.builtin) for name, spec in specs.items()] == [("ink", False), ("outline", True)]
    assert [line["event"] for line in lines] == ["adapter_hidden"]
    assert specs["ink"].reading is not None
    assert any("hides 'ink.safetensors'" in line for line in specs["ink"].reading.evidence)


def test_a_file_that_was_just_added_is_found_by_the_next_request(models: Path) -> None:
    additions = Additions.of([models])
    assert all_of(additions) == {}
    put(models / "loras", "ink")
    assert found(additions, "ink") == "ink"
    put(models / "loras" / "deep" / "deeper", "pen")
    assert found(additions, "pen") == "deep--deeper--pen"


def test_a_file_that_changed_has_another_version_and_one_that_is_gone_is_unknown(models: Path) -> None:
    additions = Additions.of([models])
    file = put(models / "loras", "ink")
    first = asyncio.run(additions.adapters.find("ink")).version
    put(models / "loras", "ink", lora(), note="a longer header")
    assert asyncio.run(additions.adapters.find("ink")).version != first
    file.unlink()
    with pytest.raises(UnknownAdapter):
        found(additions, "ink")


def test_what_cannot_be_used_is_listed_with_the_reason(models: Path) -> None:
    folder = models / "loras"
    put(folder, "sd15", lora(768))
    flux = "lora_unet_double_blocks_0_img_attn_qkv"
    put(folder, "flux", {f"{flux}.lora_down.weight": (4, 3072), f"{flux}.lora_up.weight": (9216, 4)})
    put(folder, "whole", SDXL)
    put(folder, "noise", {"anything.weight": (3,)})
    put(folder, "vae", {"decoder.conv_in.weight": (512, 4, 3, 3)})
    (folder / "old.pt").write_bytes(b"x")
    (folder / "cut.safetensors").write_bytes(b"x" * 5)
    put(folder, "loading")
    (folder / "loading.safetensors.part").touch()
    additions = Additions.of([models])
    assert "Stable Diffusion 1.x" in reason(additions, "sd15")
    assert "Flux" in reason(additions, "flux")
    assert reason(additions, "whole") == (
        "this is no adapter, but a whole SDXL checkpoint. Move it up into the models folder."
    )
    assert "not an adapter of a known kind" in reason(additions, "noise")
    assert "this is no adapter, but a VAE alone. Move it into the folder vae/" in reason(additions, "vae")
    assert "pickle" in reason(additions, "old")
    assert reason(additions, "cut")
    assert "still being downloaded" in reason(additions, "loading")


def test_an_adapter_that_turned_out_to_be_broken_stays_so_until_its_file_changes(models: Path) -> None:
    additions = Additions.of([models])
    put(models / "loras", "ink")
    spec = asyncio.run(additions.adapters.find("ink"))
    additions.adapters.mark_unusable("ink", spec.version, "a tensor is damaged")
    assert reason(additions, "ink") == "a tensor is damaged"
    put(models / "loras", "ink", lora(), note="another")
    assert reason(additions, "ink") == ""


def test_a_link_that_leads_back_ends_the_search(models: Path) -> None:
    put(models / "loras", "ink")
    (models / "loras" / "again").symlink_to(models / "loras")
    assert set(all_of(Additions.of([models]))) == {"ink"}
