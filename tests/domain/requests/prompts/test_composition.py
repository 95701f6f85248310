"""`AND` divides a prompt into parts with weights, as AUTOMATIC1111's web UI documents it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.requests.prompts.composition import Part, UnequalParts, composed_of


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a cat AND a dog", [("a cat", 1.0), ("a dog", 1.0)]),
        ("a cat :1.2 AND a dog AND a penguin :2.2", [("a cat", 1.2), ("a dog", 1.0), ("a penguin", 2.2)]),
        ("a AND b:-1", [("a", 1.0), ("b", -1.0)]),
        ("a AND b: .5 ", [("a", 1.0), ("b", 0.5)]),
        ("a AND b :1.", [("a", 1.0), ("b", 1.0)]),
        ("a AND b :1.2.3", [("a", 1.0), ("b :1.2.3", 1.0)]),
        ("(a:1.2) AND [b:3]", [("(a:1.2)", 1.0), ("[b:3]", 1.0)]),
        ("a AND", [("a", 1.0), ("", 1.0)]),
        ("a picture of 16:9", [("a picture of 16:9", 1.0)]),
        ("LAND AND SANDY", [("LAND", 1.0), ("SANDY", 1.0)]),
        ("a and b", [("a and b", 1.0)]),
        ("a AND a :0.5 AND b", [("a", 1.5), ("b", 1.0)]),
        ("a AND b :0", [("a", 1.0)]),
        ("a :0 AND b :0", [("a", 0.0)]),
        ("a AND b :99", [("a", 1.0), ("b", 10.0)]),
    ],
)
def test_parts_and_their_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert composed_of(prompt, prompt) == tuple(Part(text, text, weight) for text, weight in expected)


def test_a_second_prompt_without_parts_goes_with_each() -> None:
    assert composed_of("a AND b :2", "style") == (Part("a", "style"), Part("b", "style", 2.0))
    assert composed_of("style", "a AND b :2") == (Part("style", "a"), Part("style", "b", 2.0))


def test_prompts_with_unequal_parts_are_refused() -> None:
    with pytest.raises(UnequalParts, match="prompt into 2 and prompt_2 into 3"):
        composed_of("a AND b", "a AND b AND c")


@given(st.text(alphabet="AND :.0129-+ab()[]\n", max_size=200))
def test_any_text_has_parts_with_usable_weights(text: str) -> None:
    parts = composed_of(text, text)
    assert parts
    assert all(abs(part.weight) <= 10 for part in parts)
