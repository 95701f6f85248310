"""Tables of the settings find their model under every name that it has, and tables of no model are told."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from litestar_diffusion.domain.models.spec import HubModel, ModelOverrides
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.catalogue.models.local_overrides import LocalOverrides
from litestar_diffusion.infra.catalogue.scan import Candidate
from tests.catalogues import everything

STATED = ModelOverrides(width=832)


def file(stem: str) -> Candidate:
    return Candidate(path=Path(f"{stem}.safetensors"), is_folder=False)


@pytest.mark.parametrize(
    "name",
    [
        "My Model [v1.0] (pruned)",  # the file without its suffix
        "My Model [v1.0] (pruned).safetensors",
        "My-Model-v1.0-pruned",  # in URLs
        "my-model-v1.0-pruned",
        "my_model_v1_0_pruned",  # all that a variable of the environment can say
    ],
)
def test_a_table_is_about_a_model_under_any_of_its_names(name: str) -> None:
    candidate = file("My Model [v1.0] (pruned)")
    overrides = LocalOverrides({name: STATED}, [candidate, file("other")])
    assert overrides.of(candidate) == STATED
    assert overrides.of(file("other")) == ModelOverrides()
    assert overrides.without_model == ()


def test_a_table_with_exactly_the_name_of_a_model_is_about_no_similar_one() -> None:
    exact, similar = file("my_model"), file("My-Model")
    overrides = LocalOverrides({"my_model": STATED}, [similar, exact])
    assert (overrides.of(exact), overrides.of(similar)) == (STATED, ModelOverrides())


def test_a_table_without_a_model_is_told_once_with_the_near_ones(tmp_path: Path) -> None:
    (tmp_path / "my-model.safetensors").touch()
    hub = HubModel(name="sdxl-base", repo="someone/sdxl")
    stated = {"my-modle": STATED, "sdxl-base": STATED, "MY-MODEL": STATED, "zzz": STATED}
    catalogue = ModelCatalogue(directories=(tmp_path,), overrides=stated, hub=(hub,))
    with capture_logs() as lines:
        everything(catalogue)
        everything(catalogue)
    told = {line["name"]: line["hint"] for line in lines if line["event"] == "unknown_local_model"}
    assert told == {
        "my-modle": "Did you mean 'my-model'?",
        "sdxl-base": "Keys of a Hub model stand in its [[models.hub]] entry.",
        "zzz": "Local models: my-model.",
    }
    assert len(lines) == 3
