"""Expressions for names of layers fit what Python's `re` fits in PEFT's way, and never take long."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.families.sdxl.adapter_files.name_expression import NameExpression, UnservedExpression

NAMES = (
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    "up_blocks.0.attentions.2.transformer_blocks.9.attn2.to_out.0",
    "mid_block.resnets.0.conv1",
)
EXPRESSIONS = (
    r".*attn2\.to_k", r"attn2.to_(k|v)", r"attn\d.to_k", r"^.*attn2\.to_k", r"(down|up)_blocks.\d+.*attn2.to_(?:k|out.0)",
    r"up_blocks", r"^up_blocks.*", r".*\.(to_q|to_k)$", r"conv[12]", r"[^.]+", r"mid|conv1", r"(to_out.)?0", r"n?1.to_q",
    r"^mid_block\.(resnets|attentions)\.\d\.conv\d?", r"a^b", r"to_k$x", r"",
)  # fmt: skip
CHARACTERS = st.sampled_from(["a", "b", r"\.", ".", r"\w", r"\d", "[ab]", "[^a]", "1"])
COUNTED = st.tuples(CHARACTERS, st.sampled_from(["", "", "*", "+", "?", "*?"])).map("".join)
PARTS = st.recursive(
    COUNTED | st.sampled_from(["^", "$"]),
    lambda parts: st.lists(st.lists(parts, max_size=3).map("".join), min_size=1, max_size=3).map(
        lambda branches: f"({'|'.join(branches)})?"
    ),
    max_leaves=6,
)


def fits_in_peft(expression: str, name: str) -> bool:
    return re.match(rf"(.*\.)?({expression})$", name) is not None


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_fits_the_layers_that_it_fits_in_peft(expression: str) -> None:
    found = NameExpression(expression)
    assert [found.fits(name) for name in NAMES] == [fits_in_peft(expression, name) for name in NAMES]


@given(st.lists(PARTS, max_size=4).map("".join), st.text("ab.1", max_size=8))
def test_any_expression_of_the_syntax_fits_what_it_fits_in_peft(expression: str, name: str) -> None:
    assert NameExpression(expression).fits(name) == fits_in_peft(expression, name)


@pytest.mark.parametrize("expression", [".*" * 100 + "x", ".?" * 120 + "x", "(.|.)" * 50 + "x", "(" * 120 + ")" * 120])
def test_an_expression_that_would_keep_re_busy_for_ever_is_matched(expression: str) -> None:
    assert not NameExpression(expression).fits("attn2.to_k." * 9 + "to_k")


@pytest.mark.parametrize(
    "expression", ["(a+)+", "(a*)*b", "a{2,}", "a**", "(?=a)a", r"(a)\1", "(", ")", "a)b(", "[b-a]", "[", "*", "\\"]
)
def test_syntax_that_is_not_served_is_refused(expression: str) -> None:
    with pytest.raises(UnservedExpression):
        NameExpression(expression)


def test_an_expression_that_is_too_long_is_refused() -> None:
    with pytest.raises(UnservedExpression, match=r"257 characters, the limit is 256"):
        NameExpression("a" * 257)
