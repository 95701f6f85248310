"""Tags of adapters in prompts are read as AUTOMATIC1111's web UI reads them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.models.adapters import AdapterChoice
from litestar_diffusion.domain.requests.prompts.adapter_tags import read_tags, tag_of


@pytest.mark.parametrize(
    ("tag", "name", "weight", "text_weight"),
    [
        ("<lora:outline>", "outline", 1, 1),
        ("<lora:outline:0.8>", "outline", 0.8, 0.8),
        ("<lora:outline:0.5:0.8>", "outline", 0.8, 0.5),
        ("<lora:outline:te=0.5>", "outline", 0.5, 0.5),
        ("<lora:outline:unet=0.8>", "outline", 0.8, 1),
        ("<lora:outline:0.3:te=0.5:unet=0.8>", "outline", 0.8, 0.5),
        ("<lora:outline:-1>", "outline", -1, -1),
        ("<lyco:My Style v1.0: .5 >", "My Style v1.0", 0.5, 0.5),
        ("<lora:線画/細:1e-1>", "線画/細", 0.1, 0.1),
        ("<lora:a (b):1>", "a (b)", 1, 1),
    ],
)
def test_the_first_weight_is_the_text_encoders_and_the_second_the_denoisers(
    tag: str, name: str, weight: float, text_weight: float
) -> None:
    (choice,) = read_tags(f"a circle {tag}").adapters
    assert (choice.name, choice.weight, choice.text_weight) == (name, weight, text_weight)


def test_tags_are_taken_out_of_the_text_and_the_rest_stays() -> None:
    read = read_tags("<lora:a:1>a (red:1.2) circle, <lyco:b:0.5> <hypernet:x:1>")
    assert read.text == "a (red:1.2) circle,  <hypernet:x:1>"
    assert [choice.name for choice in read.adapters] == ["a", "b"]


@pytest.mark.parametrize(
    "prompt", ["", "a circle", "a <lora> b", "<lora:>", "1 < 2 > 1", "< lora:x>", "<LORA:x>", "<lora:x"]
)
def test_what_is_no_tag_stays(prompt: str) -> None:
    read = read_tags(prompt)
    assert (read.text, read.adapters) == (prompt, ())


@pytest.mark.parametrize("weight", ["x", "", "11", "-10.5", "nan", "inf", "1.2.3", "0.5@0.2"])
def test_a_weight_that_is_no_number_in_range_is_a_problem(weight: str) -> None:
    read = read_tags(f"<lora:a:{weight}>")
    assert read.adapters == ()
    assert "must be a number from -10 to 10" in "".join(read.problems)


def test_a_tag_without_a_name_is_a_problem() -> None:
    assert "names no adapter" in "".join(read_tags("<lora: :1>").problems)


def test_parts_without_effect_are_told() -> None:
    (sentence,) = read_tags("<lora:a:1:1:4:dyn=8:lbw=XYZ>").ignored
    assert "4, dyn, lbw has no effect" in sentence


@given(
    st.from_regex(r"[a-zA-Z][\w ./-]{0,20}[a-z]", fullmatch=True),
    st.floats(-10, 10).map(lambda weight: round(weight, 3)),
    st.none() | st.floats(-10, 10).map(lambda weight: round(weight, 3)),
)
def test_what_is_written_is_what_is_read(name: str, weight: float, text_weight: float | None) -> None:
    choice = AdapterChoice(name=name, weight=weight, text_weight=text_weight)
    (read,) = read_tags(tag_of(choice)).adapters
    assert read.name == name
    assert math.isclose(read.weight, weight, abs_tol=1e-4)
    assert math.isclose(read.text_weight or 0, weight if text_weight is None else text_weight, abs_tol=1e-4)


@given(st.text(alphabet="<lora:ycon>0.5=te ", max_size=300))
def test_any_text_is_read(prompt: str) -> None:
    read = read_tags(prompt)
    assert len(read.text) <= len(prompt)
