"""Masks: painted over the picture, or files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.conftest import Server
from tests.page.looking import RESULT, generate, receipt_of, use_settings
from tests.pictures import opened

MASKED, UNMASKED = "all other pixels stay", "Paint over a part"
SLOW_ENCODER = """() => {
  const encode = OffscreenCanvas.prototype.convertToBlob;
  OffscreenCanvas.prototype.convertToBlob = async function (...options) {
    await new Promise((resolve) => (window.encode = resolve));
    return encode.apply(this, options);
  };
}"""
PAINTED = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value, index) => index % 4 === 3 && value > 0);
}"""


@pytest.fixture
def brush(painter: Any, tmp_path: Path) -> Any:
    """The brush over a white picture of 128 by 128 pixels."""
    Image.new("RGB", (128, 128), "white").save(tmp_path / "in.png")
    painter.get_by_label("Choose a picture").set_input_files(tmp_path / "in.png")
    painter.locator(".brush canvas").wait_for()
    return painter.locator(".brush")


def test_a_mask_is_painted_and_all_other_pixels_stay(painter: Any) -> None:
    before = generate(painter, "a red circle on a blue background")
    painter.get_by_role("button", name="Edit this picture").click()
    canvas = painter.locator(".brush canvas")
    canvas.evaluate("canvas => canvas.scrollIntoView({ block: 'center' })")
    box = canvas.bounding_box()
    painter.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5)
    painter.mouse.down()
    painter.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.5, steps=4)
    painter.mouse.up()
    expect(painter.locator(".brush")).to_contain_text("all other pixels stay")
    painter.get_by_label("Strength: how much changes").fill("1")
    after = generate(painter, "a green square on a white background")
    one, other = (np.asarray(opened(data).convert("RGB"), dtype=int) for data in (before, after))
    changed = np.abs(one - other).max(axis=2) > 0
    corner, middle = changed[:16, :16], changed[56:72, 56:72]
    assert not corner.any()
    assert not changed[:, :16].any()
    assert middle.mean() > 0.5


def test_a_mask_may_be_a_file(painter: Any, tmp_path: Path) -> None:
    before = generate(painter, "a red circle on a blue background")
    painter.get_by_role("button", name="Edit this picture").click()
    left = Image.new("L", (128, 128), 0)
    left.paste(255, (0, 0, 64, 128))
    left.save(tmp_path / "mask.png")
    painter.get_by_label("Mask from a file").set_input_files(tmp_path / "mask.png")
    expect(painter.locator(".brush")).to_contain_text("all other pixels stay")
    painter.get_by_label("Fade of the mask's border, pixels").fill("0")
    after = generate(painter, "a green square on a white background")
    one, other = (np.asarray(opened(data).convert("RGB"), dtype=int) for data in (before, after))
    assert (one[:, 64:] == other[:, 64:]).all()
    assert (one[:, :64] != other[:, :64]).any()


def test_a_click_paints_a_dot(brush: Any) -> None:
    brush.locator("canvas").click()
    expect(brush).to_contain_text(MASKED)


def test_a_mask_is_seen_again_after_another_view(painter: Any, brush: Any) -> None:
    brush.locator("canvas").click()
    expect(brush).to_contain_text(MASKED)
    painter.get_by_role("link", name="History").click()
    painter.get_by_role("link", name="Create").click()
    expect(brush).to_contain_text(MASKED)
    painter.wait_for_function(
        f"() => ({PAINTED})(document.querySelector('.brush canvas') ?? new OffscreenCanvas(1, 1))"
    )


def test_a_mask_that_is_cleared_while_it_is_encoded_stays_cleared(painter: Any, brush: Any) -> None:
    painter.evaluate(SLOW_ENCODER)
    brush.locator("canvas").click()
    painter.wait_for_function("() => window.encode !== undefined")
    brush.get_by_role("button", name="Clear").click()
    painter.evaluate("window.encode(); new Promise((resolve) => setTimeout(resolve, 100))")
    expect(brush).to_contain_text(UNMASKED)


def test_a_request_waits_for_its_mask(painter: Any, brush: Any, server: Server) -> None:
    painter.evaluate(SLOW_ENCODER)
    brush.locator("canvas").click()
    painter.wait_for_function("() => window.encode !== undefined")
    painter.get_by_role("button", name="Generate").click()
    with painter.expect_response("**/jobs/demo") as accepted:
        painter.evaluate("window.encode()")
    painter.locator(RESULT).wait_for()
    job = server.client.get(accepted.value.json()["url"]).json()
    assert job["result"]["parameters"]["mask_sha256"]


def test_the_same_mask_file_may_be_chosen_again_after_clear(brush: Any, tmp_path: Path) -> None:
    Image.new("L", (128, 128), 255).save(tmp_path / "mask.png")
    for _ in range(2):
        brush.get_by_label("Mask from a file").set_input_files(tmp_path / "mask.png")
        expect(brush).to_contain_text(MASKED)
        assert brush.get_by_label("Mask from a file").input_value() == ""
        brush.get_by_role("button", name="Clear").click()
        expect(brush).to_contain_text(UNMASKED)


def test_the_mask_lies_on_a_very_wide_picture(painter: Any, tmp_path: Path) -> None:
    Image.new("RGB", (800, 100), "white").save(tmp_path / "wide.png")
    painter.get_by_label("Choose a picture").set_input_files(tmp_path / "wide.png")
    canvas, picture = painter.locator(".brush canvas"), painter.locator(".brush img")
    canvas.wait_for()
    assert canvas.bounding_box() == picture.bounding_box()


def test_a_mask_that_settings_replace_is_wiped(painter: Any, brush: Any) -> None:
    brush.locator("canvas").click()
    expect(brush).to_contain_text(MASKED)
    use_settings(painter, receipt_of(model="demo", request={"prompt": "one", "image_sha256": "0" * 64}))
    expect(brush).to_contain_text(UNMASKED)
    assert not brush.locator("canvas").evaluate(PAINTED)
