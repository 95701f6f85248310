"""Aliases: which model a name stands for."""

import pytest

from litestar_diffusion.domain.models.aliases import USUAL_ALIASES, Aliases, wrong_aliases

USUAL = ("gpt-image-1", "dall-e-2", "dall-e-3")


@pytest.mark.parametrize("name", USUAL)
def test_names_that_clients_fix_stand_for_the_default_model(name: str) -> None:
    assert Aliases.of({}, "mine").chain(name, {"mine", "other"}) == (name, "default", "mine")


def test_the_usual_aliases_hold_beside_stated_ones_unless_those_say_otherwise() -> None:
    known = Aliases.of({"sd": "other", "dall-e-2": "other", "dall-e-3": ""}, "mine").resolved({"mine", "other"})
    assert known["sd"] == known["dall-e-2"] == "other"
    assert known["gpt-image-1"] == known["default"] == "mine"
    assert "dall-e-3" not in known


def test_a_model_of_the_same_name_is_stronger_at_each_link() -> None:
    known = Aliases.of({"a": "b", "b": "mine"}, "mine")
    assert known.chain("a", {"mine", "b"}) == ("a", "b")
    assert known.chain("b", {"mine", "b"}) == ("b",)
    assert known.shadowed({"mine", "b"}) == ["b"]
    assert "b" not in known.resolved({"mine", "b"})


def test_aliases_of_a_missing_model_are_told_by_that_name() -> None:
    assert Aliases.of({"a": "gone", "b": "a"}, "mine").unknown({"mine"}) == {"gone": ["a", "b"]}
    assert Aliases.of({}, None).unknown({"mine"}) == {}, "no default model is a choice, and no mistake of an alias"
    assert Aliases.of({}, None).resolved({"mine"}) == {}


@pytest.mark.parametrize(
    ("stated", "default", "chain"),
    [
        ({"a": "a"}, "mine", "'a' -> 'a'"),
        ({"a": "b", "b": "c", "c": "a"}, "mine", "'a' -> 'b' -> 'c' -> 'a'"),
        ({"b": "a", "a": "default"}, "b", "'default' -> 'b' -> 'a' -> 'default' ('default' is models.default)"),
    ],
)
def test_a_circle_is_reported_once_with_its_chain(stated: dict[str, str], default: str, chain: str) -> None:
    (error,) = wrong_aliases({**stated, "into-the-circle": next(iter(stated))}, default)
    assert error.field == "models.aliases"
    assert chain in error.message


@pytest.mark.parametrize("name", ["dall-e-3", "default"])
def test_a_default_model_of_a_usual_name_keeps_it(name: str) -> None:
    assert wrong_aliases(USUAL_ALIASES, name) == []
    assert Aliases.of({}, name).chain("gpt-image-1", {name})[-1] == name


def test_two_circles_are_two_errors_and_chains_are_none() -> None:
    assert len(wrong_aliases({"a": "a", "b": "b", "c": "d", "d": "mine"}, "mine")) == 2
    assert wrong_aliases(dict(USUAL_ALIASES), "mine") == []
