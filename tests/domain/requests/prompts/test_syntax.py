"""Prompt syntax: brackets multiply, escapes make text of them, and no text is refused."""

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.requests.prompts.syntax import MAX_WEIGHT, Prompt, Span, parse_prompt

PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="()[]\\:"), min_size=1)
SYNTAX = st.lists(st.sampled_from([*"()[]\\:.+-,0123 ab", "BREAK", ":1.3)"]), max_size=60).map("".join)
WEIGHT = st.decimals(0, 2, places=2).map(float)


def spans(text: str) -> list[tuple[str, float]]:
    return [(span.text, span.weight) for span in parse_prompt(text, breaks=False).sections[0]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        ("(red:1.3) circle", [("red", 1.3), (" circle", 1)]),
        ("( red : 1.3 ) circle", [(" red ", 1.3), (" circle", 1)]),
        ("((red)) [blue]", [("red", 1.21), (" ", 1), ("blue", 0.909091)]),
        ("(a)(b)", [("ab", 1.1)]),
        ("(unbalanced", [("unbalanced", 1.1)]),
        ("[[open", [("open", 0.826446)]),
        ("stray) and ]", [("stray) and ]", 1)]),
        ("stray:1.3)", [("stray:1.3)", 1)]),
        (r"hakurei reimu \(touhou\), \[x\], a\\b", [(r"hakurei reimu (touhou), [x], a\b", 1)]),
        (r"(shield \(round\):1.2)", [("shield (round)", 1.2)]),
        (r"back\slash", [(r"back\slash", 1)]),
        ("[(cancelled)] out", [("cancelled out", 1)]),
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", 0.909091)]),
        ("(time 10:30)", [("time 10", 30)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a:-0.5)", [("a", -0.5)]),
        ("[a:0.5]", [("a:0.5", 0.909091)]),
        ("()", []),
        ("", []),
    ],
)
def test_it_reads_like_the_web_ui(text: str, expected: list[tuple[str, float]]) -> None:
    """The last but one of the brackets' cases is no weight: square ones take none."""
    found = spans(text)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([min(weight, MAX_WEIGHT) for _, weight in expected])


def test_the_web_uis_own_example() -> None:
    assert spans("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).") == [
        ("a ", 1.0),
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641),
        (".", 1.1),
    ]


@given(PLAIN)
def test_text_without_brackets_is_untouched(text: str) -> None:
    assert parse_prompt(text, breaks=False) == Prompt(sections=((Span(text),),))


@given(st.text(min_size=1))
def test_with_both_switched_off_every_text_is_text(text: str) -> None:
    assert parse_prompt(text, weighting=False, breaks=False) == Prompt(sections=((Span(text),),))


@given(st.text(min_size=1) | SYNTAX.filter(bool))
def test_escapes_make_text_of_anything(text: str) -> None:
    escaped = re.sub(r"([()\[\]\\])", r"\\\1", text)
    assert spans(escaped) == [(text, 1.0)]


@given(PLAIN, st.lists(WEIGHT, max_size=4), st.integers(0, 3), st.integers(0, 3))
def test_weights_multiply(text: str, weights: list[float], rounds: int, squares: int) -> None:
    written = "(" * rounds + "[" * squares + text + "]" * squares + ")" * rounds
    expected = 1.1**rounds / 1.1**squares
    for weight in weights:
        written, expected = f"({written}:{weight})", expected * weight
    ((found, weight),) = spans(written)
    assert found == text
    assert weight == pytest.approx(min(expected, MAX_WEIGHT), abs=1e-5)


@given(SYNTAX, SYNTAX)
def test_nothing_is_refused_and_every_weight_is_a_number_in_bounds(one: str, other: str) -> None:
    prompt = parse_prompt(f"{one} BREAK {other}")
    assert len(prompt.sections) >= 2
    for section in prompt.sections:
        assert all(span.text and -MAX_WEIGHT <= span.weight <= MAX_WEIGHT for span in section)
        assert all(one.weight != next_.weight for one, next_ in itertools.pairwise(section))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("(" * 3000 + "a", MAX_WEIGHT), (f"(a:{'9' * 400})", MAX_WEIGHT), (f"((a:{'9' * 400}):0)", 0), ("(a:-99)", -10)],
)
def test_weights_out_of_bounds_are_lowered_and_told(text: str, expected: float) -> None:
    assert spans(text) == [("a", expected)]
    assert parse_prompt(text).lowered is (expected != 0)
    assert not parse_prompt("(a:10)").lowered


def test_break_divides_inside_brackets_too() -> None:
    assert parse_prompt("a BREAK (b BREAK c:1.2)").sections == (
        (Span("a "),),
        (Span(" "), Span("b ", 1.2)),
        (Span(" c", 1.2),),
    )
    assert parse_prompt("BREAKFAST, break").sections == ((Span("BREAKFAST, break"),),)
    assert parse_prompt("a BREAK b", breaks=False).sections == ((Span("a BREAK b"),),)


@pytest.mark.parametrize("text", ["(" * 100_000, "(a" * 50_000, ":" + "1" * 100_000, " " * 100_000, "(a:1)" * 20_000])
def test_it_takes_time_in_proportion_to_the_length(text: str) -> None:
    begun = time.thread_time()  # not the clock on the wall, because other processes may have the core
    parse_prompt(text)
    assert time.thread_time() - begun < 5
