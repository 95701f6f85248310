"""A prompt in another program's language is read as words, and the answer says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.requests.prompts.unread_syntax import unread_syntax


@pytest.mark.parametrize(
    ("prompt", "quoted"),
    [
        ("a circle <lora:outline:1>", "<lora:outline:1>"),
        ("<lora:My Style v1.0:0.8:0.5>", "<lora:My Style v1.0:0.8:0.5>"),
        ("<lyco:x>", "<lyco:x>"),
        ("<hypernet:x:1>", "<hypernet:x:1>"),
        ("a cat, embedding:easynegative", "embedding:easynegative"),
        ("(embedding:bad/hands-v2.safetensors:1.2)", "embedding:bad/hands-v2.safetensors"),
        ("a __colour__ circle", "__colour__"),
        ("__animals/*__", "__animals/*__"),
        ("a {red|blue} circle", "{red|blue}"),
        ("{2$$red|blue|green}", "{2$$red|blue|green}"),
        ("[a cat:a dog:0.5]", "[a cat:a dog:0.5]"),
        ("[a cat:10]", "[a cat:10]"),
        ("[cow|horse] in a field", "[cow|horse]"),
        ("a cat AND a dog", "AND"),
    ],
)
def test_syntax_that_is_not_acted_on_is_quoted(prompt: str, quoted: str) -> None:
    (sentence,) = unread_syntax(prompt)
    assert f"has {quoted!r}, which was read as words" in sentence


@pytest.mark.parametrize(
    "prompt",
    [
        "a red circle, (masterpiece:1.2), [blurry], ((best quality))",
        "sand and water",
        "LAND, ANDES",
        "a <3 b > c",
        r"\[a|b\]",
        "16:9, 12:30",
        "[blurry, low quality]",
        "snake_case __init",
        "",
    ],
)
def test_usual_prompts_have_none(prompt: str) -> None:
    assert list(unread_syntax(prompt)) == []


def test_a_long_match_is_cut_in_the_sentence() -> None:
    (sentence,) = unread_syntax(f"<lora:{'x' * 190}:1>")
    assert len(sentence) < 200


@given(st.text(alphabet="<lora:>[]{}|_AND 0.5embeddi\\", max_size=300))
def test_any_text_is_searched(prompt: str) -> None:
    assert all(sentence.startswith("has ") and sentence.endswith(".") for sentence in unread_syntax(prompt))
