"""A wrong name of a model gets the one that it most likely means, at a bounded cost."""

from collections.abc import Iterator

import pytest

from litestar_diffusion.domain import likely_name as module
from litestar_diffusion.domain.errors import UnknownModel
from litestar_diffusion.domain.likely_name import likely_name

NAMES = ["demo", "demo-turbo", "My-Model-v1.0-pruned", "日本語モデル"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DEMO", "demo"),
        ("demo.safetensors", "demo"),
        (" demo ", "demo"),
        ("demo turbo.SAFETENSORS", "demo-turbo"),
        ("My Model [v1.0] (pruned).safetensors", "My-Model-v1.0-pruned"),
        ("dmeo", "demo"),
        ("日本語モデル.safetensors", "日本語モデル"),
        ("日本語モデル", "日本語モデル"),
        ("sdxl", None),
        ("...", None),
        ("", None),
        ("demo" * 1000, None),
    ],
)
def test_the_name_that_is_meant(name: str, meant: str | None) -> None:
    assert likely_name(name, NAMES) == meant


def test_of_thousands_of_names_only_some_are_compared_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counting(_name: str, names: Iterator[str], **_options: object) -> list[str]:
        compared.append(len(list(names)))
        return []

    monkeypatch.setattr(module.difflib, "get_close_matches", counting)
    names = ["m", *(f"model-{index}" for index in range(10_000)), "m" * 100]
    assert likely_name("misspelt", names) is None
    assert likely_name("m" * 61, names) is None
    assert compared == [100]


def test_the_error_asks_whether_it_is_meant_and_lists_a_bounded_number() -> None:
    error = UnknownModel("DEMO", [*(f"a{index}" for index in range(1000)), "demo"])
    assert error.message.startswith("There is no model named 'DEMO'. Did you mean 'demo'? Available: a0, a1,")
    assert error.message.endswith(" and 951 more.")
    assert error.likely == "demo"
