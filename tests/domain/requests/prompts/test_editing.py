"""Prompts change at the steps at which AUTOMATIC1111's web UI changes them; any text is read, in linear time.

The expectations are the rules of its wiki ("Prompt editing", "Alternating Words") and the examples that its sources document.
"""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.requests.prompts.editing import Passes, Stretch, prompt_schedule

Schedule = list[tuple[int, str]]


def each_step(schedule: Schedule) -> list[str]:
    """Return the text of every step; the web UI repeats a text, a schedule here does not."""
    texts: list[str] = []
    for last_step, text in schedule:
        texts += [text] * (last_step - len(texts))
    return texts


def read(text: str, passes: Passes) -> Schedule:
    return [(stretch.last_step, stretch.text) for stretch in prompt_schedule(text, passes)]


TEN_STEPS: dict[str, Schedule] = {
    "test": [(10, "test")],
    "a [b:3]": [(3, "a "), (10, "a b")],
    "a [b: 3]": [(3, "a "), (10, "a b")],
    "a [b: 3 ]": [(3, "a "), (10, "a b")],
    "a [[[b]]:2]": [(2, "a "), (10, "a [[b]]")],
    "[(a:2):3]": [(3, ""), (10, "(a:2)")],
    "a [b : c : 1] d": [(1, "a b  d"), (10, "a  c  d")],
    "a[b:[c:d:2]:1]e": [(1, "abe"), (2, "ace"), (10, "ade")],
    "a [unbalanced": [(10, "a [unbalanced")],
    "a [b:.5] c": [(5, "a  c"), (10, "a b c")],
    "((a][:b:c [d:3]": [(3, "((a][:b:c "), (10, "((a][:b:c d")],
    "[a|(b:1.1)]": [(step, "(b:1.1)" if step % 2 == 0 else "a") for step in range(1, 11)],
    "[fe|]male": [(step, "male" if step % 2 == 0 else "female") for step in range(1, 11)],
    "[fe|||]male": [(1, "female"), (4, "male"), (5, "female"), (8, "male"), (9, "female"), (10, "male")],
    "a [{b|d{:.5] c": [(10, "a [{b|d{:.5] c")],
}
"""The published examples, and what they come to in ten steps. The last is "not handled" there: `|` has no place beside `:`."""
HUNDRED_STEPS: dict[str, Schedule] = {
    "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
    "[ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]": [
        (25, "fantasy landscape with a mountain and an oak in foreground shoddy"),
        (50, "fantasy landscape with a lake and an oak in foreground in background shoddy"),
        (60, "fantasy landscape with a lake and an oak in foreground in background masterful"),
        (75, "fantasy landscape with a lake and an oak in background masterful"),
        (100, "fantasy landscape with a lake and a christmas tree in background masterful"),
    ],
}
RULES: dict[str, Schedule] = {
    "[to:4]": [(4, ""), (10, "to")],
    "[from::4]": [(4, "from"), (10, "")],
    "[from:to:4]": [(4, "from"), (10, "to")],
    "[a:b:1.0]": [(10, "a")],
    "[a:b:1]": [(1, "a"), (10, "b")],
    "[a:b:0.55]": [(5, "a"), (10, "b")],
    "[a:b:0]": [(10, "b")],
    "[a:b:0.0]": [(10, "b")],
    "[a:b:0.09]": [(10, "b")],
    "[a:b:-3]": [(10, "b")],
    "[a:b:11]": [(10, "a")],
    "[a:b:1e999]": [(10, "a")],
    "[a:b]": [(10, "[a:b]")],
    "[a:b:c:3]": [(10, "[a:b:c:3]")],
    "[a:b:3] | c": [(10, "[a:b:3] | c")],
    "[a:b:3] \\": [(10, "[a:b:3] \\")],
    r"\[a:b:3\]": [(10, r"\[a:b:3\]")],
    r"[\[a\]:b:3]": [(3, r"\[a\]"), (10, "b")],
    "(a (b) [c:d:3]:1.2)": [(3, "(a (b) c:1.2)"), (10, "(a (b) d:1.2)")],
    "(cat:[1.0:1.4:5])": [(5, "(cat:1.0)"), (10, "(cat:1.4)")],
    "[[a|b]:c:2]": [(1, "a"), (2, "b"), (10, "c")],
    "[a (b:3]": [(10, "[a (b:3]")],
    "[x:[y]:5] [z": [(5, "x [z"), (10, "[y] [z")],
    "[cat:embedding:neon:5]": [(5, "cat"), (10, "embedding:neon")],
    "(embedding:neon:1.2)": [(10, "(embedding:neon:1.2)")],
}
SECOND_PASS: dict[str, Schedule] = {
    "a [b:.5] c": [(10, "a b c")],
    "a [b:1.5] c": [(5, "a  c"), (10, "a b c")],
    "a [b:5] c": [(10, "a b c")],
    "a [b:15] c": [(5, "a  c"), (10, "a b c")],
}
"""Ten steps after ten others."""


@pytest.mark.parametrize(("prompt", "expected"), [*TEN_STEPS.items(), *RULES.items()])
def test_prompts_are_read_as_in_the_web_ui(prompt: str, expected: Schedule) -> None:
    assert each_step(read(prompt, Passes(10))) == each_step(expected)


@pytest.mark.parametrize(("prompt", "expected"), HUNDRED_STEPS.items())
def test_shares_are_of_all_steps(prompt: str, expected: Schedule) -> None:
    assert read(prompt, Passes(100)) == expected


@pytest.mark.parametrize(("prompt", "expected"), SECOND_PASS.items())
def test_a_second_pass_goes_on_counting(prompt: str, expected: Schedule) -> None:
    assert each_step(read(prompt, Passes(10, before=10))) == each_step(expected)


PIECES = st.lists(st.sampled_from([*"[]()|:\\ ab", "3", ".5", "1e999", "\\[", "embedding:", "\n"]), max_size=60)


@given(PIECES, st.integers(1, 20))
def test_any_text_gives_stretches_that_cover_all_steps_and_differ(pieces: list[str], steps: int) -> None:
    schedule = prompt_schedule("".join(pieces), Passes(steps))
    ends = [stretch.last_step for stretch in schedule]
    assert ends == sorted(set(ends))
    assert ends[0] >= 1
    assert ends[-1] == steps
    assert all(one.text != other.text for one, other in itertools.pairwise(schedule))


@given(st.text(alphabet=st.characters(exclude_characters="[]"), max_size=200))
def test_a_text_without_square_brackets_stays_as_it_is(text: str) -> None:
    assert prompt_schedule(text, Passes(7)) == (Stretch(7, text),)


@given(st.text(alphabet="([a, b])", max_size=200))
def test_brackets_that_weigh_words_stay_as_they_are(text: str) -> None:
    assert prompt_schedule(text, Passes(7)) == (Stretch(7, text),)


@pytest.mark.parametrize(
    "hostile", ["[" * 4000, "(" * 4000, "[(" * 2000, "[a:b:c]" * 570, "(" * 2000 + ")" * 2000, "\\" * 4001]
)
def test_a_line_of_brackets_is_text(hostile: str) -> None:
    assert prompt_schedule(hostile, Passes(150)) == (Stretch(150, hostile),)


def test_nesting_of_any_depth_is_read() -> None:
    schedule = prompt_schedule("[" * 1000 + "a" + ":3]" * 1000, Passes(10))
    assert schedule == (Stretch(3, ""), Stretch(10, "a"))
