"""The catalogue finds models by their aliases, and says so if an alias leads nowhere or means nothing."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from litestar_diffusion.domain.errors import UnknownModel
from litestar_diffusion.domain.models.aliases import Aliases
from litestar_diffusion.domain.models.spec import HubModel
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from tests.catalogues import everything, found
from tests.headers import SDXL, sparse_file


@pytest.fixture
def models(tmp_path: Path) -> Path:
    sparse_file(tmp_path / "mine.safetensors", SDXL)
    return tmp_path


def catalogue(directory: Path, aliases: dict[str, str], default: str | None = "mine") -> ModelCatalogue:
    hub = (HubModel(name="far", repo="someone/far"),)
    return ModelCatalogue(
        directories=[directory],
        overrides={},
        hub=hub,
        hub_cache=directory / "hub",
        aliases=Aliases.of(aliases, default),
    )


def test_an_alias_finds_its_model_under_the_models_own_name(models: Path) -> None:
    known = catalogue(models, {"owner/repo": "far"})
    assert found(known, "gpt-image-1").name == found(known, "default").name == "mine"
    assert found(known, "owner/repo").name == "far"
    assert known.get("dall-e-3").version == known.get("mine").version


def test_models_list_their_aliases(models: Path) -> None:
    listed = {str(spec.name): spec.aliases for spec in everything(catalogue(models, {"sd": "far"}))}
    assert listed["far"] == ("sd",)
    assert {"default", "gpt-image-1", "dall-e-2", "dall-e-3"} <= set(listed["mine"])


def test_a_model_that_appears_takes_its_name_from_the_alias_at_once_with_one_warning(models: Path) -> None:
    known = catalogue(models, {})
    assert found(known, "dall-e-2").name == "mine"
    sparse_file(models / "dall-e-2.safetensors", SDXL)
    with capture_logs() as logs:
        assert found(known, "dall-e-2").name == "dall-e-2"
        everything(known)
    assert [(line["event"], line["alias"]) for line in logs] == [("alias_hidden", "dall-e-2")]
    assert "dall-e-2" not in found(known, "mine").aliases


def test_an_alias_of_no_model_is_a_warning_at_start_and_an_error_at_use_that_says_so(models: Path) -> None:
    known = catalogue(models, {"sd": "gone", "again": "sd"})
    with capture_logs() as logs:
        everything(known)
        everything(known)
    assert [(line["event"], line["aliases"], line["model"]) for line in logs] == [
        ("alias_of_unknown_model", ["sd", "again"], "gone")
    ]
    with pytest.raises(UnknownModel, match=r"'again': it is an alias of 'sd'.*'gone' .*models\.aliases") as caught:
        found(known, "again")
    assert caught.value.available == ("far", "mine")


def test_without_a_default_model_its_aliases_are_no_mistake_but_lead_nowhere(models: Path) -> None:
    known = catalogue(models, {}, default=None)
    with capture_logs() as logs:
        everything(known)
    assert logs == []
    with pytest.raises(UnknownModel, match=r"models\.default is empty"):
        found(known, "gpt-image-1")


def test_the_verdict_on_broken_files_holds_for_the_alias_too(models: Path) -> None:
    known = catalogue(models, {})
    spec = found(known, "gpt-image-1")
    known.mark_unusable(spec.name, spec.version, "cut short")
    assert asyncio.run(known.find("gpt-image-1")).unusable == "cut short"
