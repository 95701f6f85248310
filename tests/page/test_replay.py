"""Requests that are taken over: settings of earlier images, receipts, presets, the form as it was left."""

from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.page.looking import generate, receipt_of, use_settings
from tests.pictures import opened, seen_in


def prompt(page: Any) -> Locator:
    return page.get_by_label("Prompt", exact=True)


def test_an_edited_prompt_and_size_of_an_earlier_image_act(painter: Any) -> None:
    width = painter.get_by_role("spinbutton", name="Width")
    width.fill("192")
    generate(painter, "a red circle on a blue background")
    painter.get_by_role("button", name="Use its settings").click()
    expect(painter.locator(".unshown")).to_have_count(0)
    width.fill("128")
    image = generate(painter, "a green square on a white background")
    assert (seen_in(image).background, seen_in(image).figures[0].colour) == ("white", "green")
    assert opened(image).size == (128, 128)


def test_settings_of_an_image_without_a_picture_take_the_picture_out_of_the_form(painter: Any) -> None:
    generate(painter, "a red circle on a blue background")
    painter.get_by_role("button", name="Edit this picture").click()
    expect(painter.locator(".brush canvas")).to_have_count(1)
    painter.get_by_role("button", name="Use its settings").click()
    expect(painter.locator(".brush")).to_have_count(0)


def test_settings_of_an_image_from_a_picture_say_that_it_must_be_chosen(painter: Any) -> None:
    use_settings(
        painter, receipt_of(model="demo", request={"prompt": "one", "image_sha256": "0" * 64, "strength": 0.5})
    )
    expect(painter.locator(".send")).to_contain_text("choose that picture")
    painter.get_by_label("Model", exact=True).wait_for()
    assert "sha256" not in painter.locator(".composer").inner_text()


def test_a_model_that_is_not_here_is_told(painter: Any) -> None:
    use_settings(painter, receipt_of(model="a-lost-model", request={"prompt": "one"}))
    expect(painter.locator(".composer")).to_contain_text("no model a-lost-model")
    painter.get_by_label("Model", exact=True).select_option("demo-turbo")
    expect(painter.locator(".composer")).not_to_contain_text("a-lost-model")


@pytest.mark.parametrize(
    ("name", "value"), [("adapters", "x"), ("adapters", [{"weight": 1}]), ("hires", 2), ("width", "wide"), ("seed", {})]
)
def test_values_of_receipts_that_are_not_valid_are_left_out_and_told(painter: Any, name: str, value: Any) -> None:
    use_settings(painter, receipt_of(model="demo", request={"prompt": "a red circle", name: value}))
    expect(prompt(painter)).to_have_value("a red circle")
    expect(painter.locator(".send")).to_contain_text(f"not valid: {name}")
    painter.reload()
    expect(prompt(painter)).to_have_value("a red circle")


def test_a_kept_form_that_is_not_valid_breaks_nothing(painter: Any) -> None:
    for form in ("3", '{"prompt": 1, "stated": {"adapters": "x"}}', '{"prompt": "kept", "stated": []}'):
        painter.evaluate("form => localStorage.setItem('litestar-diffusion.form', form)", form)
        painter.evaluate("localStorage.setItem('litestar-diffusion.presets', '[null, 3]')")
        painter.reload()
        painter.locator('input[placeholder="14"]').wait_for()
    expect(prompt(painter)).to_have_value("kept")


def test_an_adapter_of_a_receipt_has_the_default_weight(painter: Any) -> None:
    use_settings(painter, receipt_of(model="demo", request={"prompt": "one", "adapters": [{"name": "outline"}]}))
    expect(painter.locator(".chosen-adapter output")).to_have_text("1.00")


def test_presets_of_two_tabs_are_kept_both(painter: Any) -> None:
    other = painter.context.new_page()
    other.goto(painter.url)
    for page, name in ((painter, "one"), (other, "two")):
        page.get_by_text("Presets").click()
        page.get_by_label("Name of the preset").fill(name)
        page.get_by_role("button", name="Keep", exact=True).click()
    for page in (painter, other):
        expect(page.locator(".presets li")).to_have_count(2)
