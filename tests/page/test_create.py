"""Composing requests, and seeing them through."""

import ast
import json
import subprocess
import sys
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.conftest import Server
from tests.page.conftest import Open
from tests.page.looking import generate, image_of
from tests.pictures import opened, seen_in


def test_a_prompt_becomes_an_image_that_shows_it(painter: Any) -> None:
    image = generate(painter, "a red circle on a blue background")
    seen = seen_in(image)
    assert (seen.background, seen.figures[0].colour, seen.figures[0].shape) == ("blue", "red", "circle")
    facts = painter.locator(".facts")
    expect(facts).to_contain_text("14, guidance 3")
    expect(facts.locator(".timing figcaption")).to_contain_text("denoising")


def test_what_differs_from_the_models_defaults_is_marked_and_goes_back(painter: Any) -> None:
    steps = painter.get_by_label("Steps")
    assert steps.get_attribute("placeholder") == "14"
    steps.fill("3")
    changed = painter.locator(".field.changed")
    expect(changed).to_have_count(1)
    generate(painter, "a green square")
    expect(painter.locator(".facts")).to_contain_text("3, guidance")
    painter.get_by_role("button", name="Steps: back to 14").click()
    expect(changed).to_have_count(0)
    painter.get_by_label("Model", exact=True).select_option("demo-turbo")
    expect(painter.locator('input[placeholder="2"]')).to_have_count(1)


def test_numbers_are_typed_key_by_key(painter: Any) -> None:
    guidance = painter.get_by_role("spinbutton", name="Guidance")
    guidance.press_sequentially("7.5")
    expect(guidance).to_have_value("7.5")
    expect(painter.locator(".field.changed")).to_have_count(1)
    guidance.press("Backspace")
    guidance.press("Backspace")
    guidance.press_sequentially(".25")
    expect(guidance).to_have_value("7.25")
    painter.get_by_role("button", name="Guidance: back to 3").click()
    expect(guidance).to_have_value("")


def test_tokens_are_counted_and_weights_and_adapters_are_coloured_as_one_types(painter: Any) -> None:
    painter.get_by_label("Prompt", exact=True).fill(
        "a (red:1.3) circle <lora:outline:1> <lora:nothing:1> [cat:dog:0.5]"
    )
    marks = painter.locator(".colours mark")
    kinds = [marks.nth(index).get_attribute("class") for index in range(marks.count())]
    assert kinds == ["weight", "adapter", "unknown", "edit"]
    expect(painter.locator(".note.warning")).to_contain_text("nothing")
    painter.get_by_label("Prompt", exact=True).fill("a red circle")
    expect(painter.locator(".tokens").first).to_have_text("3 tokens")


def test_a_request_that_would_be_refused_says_why_before_it_is_sent(painter: Any) -> None:
    painter.get_by_label("Prompt", exact=True).fill("x")
    painter.get_by_label("Steps").fill("100000")
    expect(painter.locator(".note")).to_contain_text("num_inference_steps")
    painter.get_by_role("button", name="Generate").click()
    expect(painter.locator(".note.error")).to_contain_text("at most 150")


def test_previews_are_seen_and_a_job_is_cancelled(painter: Any) -> None:
    painter.get_by_label("Steps").fill("150")
    painter.get_by_label("Width").fill("512")
    painter.get_by_label("Height").fill("512")
    painter.get_by_label("Prompt", exact=True).fill("a red circle")
    painter.get_by_role("button", name="Generate").click()
    preview = painter.get_by_alt_text("Preview of the unfinished image")
    preview.wait_for()
    assert preview.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    expect(painter.locator(".progress-label")).to_contain_text("of 150")
    painter.get_by_role("button", name="Cancel").click()
    expect(painter.locator(".stage")).to_contain_text("Cancelled")


def test_several_images_adapters_and_a_locked_seed(painter: Any) -> None:
    painter.get_by_label("Images", exact=True).fill("2")
    painter.get_by_label("Seed", exact=True).fill("7")
    painter.get_by_label("Adapters (LoRA)").select_option("outline")
    painter.get_by_role("button", name="+ an outline of").click()
    generate(painter, "an outline of a red circle")
    variants = painter.get_by_role("button", name="Image with seed")
    assert [variants.nth(index).get_attribute("aria-label") for index in range(2)] == [
        "Image with seed 7",
        "Image with seed 8",
    ]
    expect(painter.locator(".facts")).to_contain_text("outline at 1")


def test_the_request_as_code_can_be_pasted(painter: Any, tmp_path: Any) -> None:
    prompt = 'a "red" circle, it\'s round, [null, true]\n'
    painter.get_by_label("Seed", exact=True).fill("7")
    painter.get_by_label("Format").select_option("jpeg")
    painter.get_by_label("Adapters (LoRA)").select_option("outline")
    painter.get_by_label("Prompt", exact=True).fill(prompt)
    painter.get_by_text("As code").click()
    seeds = list[int]()
    for language in ("curl", "Python"):
        painter.get_by_role("button", name=language, exact=True).click()
        code = painter.locator("pre.code").inner_text()
        command = ["bash", "-c", f"{code} --silent"] if language == "curl" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        seeds += [json.loads(done.stdout)["images"][0]["seed"]] if language == "curl" else []
    assert seeds == [7]
    assert opened((tmp_path / "7.jpeg").read_bytes()).size == (128, 128)
    body = ast.literal_eval(code.partition("body = ")[2].partition("\nanswer")[0])
    adapters = [{"name": "outline", "weight": 1}]
    assert body == {"prompt": prompt, "seed": 7, "output_format": "jpeg", "adapters": adapters}


@pytest.mark.parametrize("width_px", [360, 1280])
def test_code_of_a_long_prompt_scrolls_and_widens_nothing(painter: Any, width_px: int) -> None:
    painter.set_viewport_size({"width": width_px, "height": 900})
    prompt = painter.get_by_label("Prompt", exact=True)
    before = prompt.bounding_box()["width"]
    prompt.fill("a red circle on a blue background, " * 20)
    painter.get_by_text("As code").click()
    painter.locator("pre.code").wait_for()
    assert prompt.bounding_box()["width"] == before
    assert painter.evaluate("document.documentElement.scrollWidth") <= width_px
    assert painter.locator(".code-top").evaluate("bar => bar.scrollWidth <= bar.clientWidth")


def test_presets_and_the_form_are_kept_in_the_browser(painter: Any) -> None:
    painter.get_by_label("Prompt", exact=True).fill("a kept prompt")
    painter.get_by_label("Steps").fill("5")
    painter.get_by_text("Presets").click()
    painter.get_by_label("Name of the preset").fill("mine")
    painter.get_by_role("button", name="Keep", exact=True).click()
    painter.get_by_role("button", name="Reset", exact=True).click()
    painter.get_by_label("Prompt", exact=True).fill("another")
    painter.reload()
    expect(painter.get_by_label("Prompt", exact=True)).to_have_value("another")
    painter.get_by_text("Presets").click()
    painter.get_by_role("button", name="mine", exact=True).click()
    expect(painter.get_by_label("Prompt", exact=True)).to_have_value("a kept prompt")
    expect(painter.get_by_role("spinbutton", name="Steps")).to_have_value("5")


def test_jobs_sent_before_the_page_was_opened_are_found(server: Server, open_page: Open) -> None:
    server.wait_until("/health/ready")
    body = {"prompt": "sent before", "num_inference_steps": 150, "width": 512, "height": 512}
    job = server.client.post("/jobs/demo", json=body).raise_for_status().json()
    page = open_page(server)
    expect(page.locator(".progress-label")).to_contain_text("of 150")
    server.client.delete(job["url"])
    expect(page.locator(".stage")).to_contain_text("Cancelled")


def test_a_job_outlives_a_lost_event_stream(painter: Any) -> None:
    """The page follows a job again if its connection ends."""
    painter.get_by_label("Steps").fill("100")
    painter.get_by_label("Width").fill("384")
    painter.get_by_label("Height").fill("384")
    painter.get_by_label("Prompt", exact=True).fill("a green square")
    painter.get_by_role("button", name="Generate").click()
    painter.get_by_alt_text("Preview of the unfinished image").wait_for()
    painter.context.set_offline(True)
    painter.context.set_offline(False)
    assert seen_in(image_of(painter, "a green square")).figures[0].colour == "green"
