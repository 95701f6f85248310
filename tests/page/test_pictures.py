"""Pictures that the image begins from: painted masks, dropped files."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.page.looking import RESULT, drop, generate, shown_image
from tests.pictures import opened


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


def test_a_png_of_this_server_that_is_dropped_is_made_again_byte_for_byte(painter: Any) -> None:
    painter.get_by_label("Steps").fill("6")
    painter.get_by_label("Seed", exact=True).fill("11")
    image = generate(painter, "a yellow triangle")
    painter.get_by_role("button", name="Reset", exact=True).click()
    painter.get_by_label("Prompt", exact=True).fill("something else")
    drop(painter, image)
    painter.get_by_role("dialog").get_by_role("button", name="Use its settings").click()
    expect(painter.get_by_label("Prompt", exact=True)).to_have_value("a yellow triangle")
    expect(painter.get_by_label("Seed", exact=True)).to_have_value("11")
    painter.get_by_role("button", name="Generate").click()
    expect(painter.locator(".strip-item")).to_have_count(2)
    expect(painter.locator(".strip-item.done")).to_have_count(2)
    painter.locator(RESULT).wait_for()
    assert shown_image(painter) == image


def test_any_other_picture_that_is_dropped_or_chosen_is_edited(painter: Any, tmp_path: Path) -> None:
    file = tmp_path / "plain.png"
    Image.new("RGB", (96, 64), "white").save(file)
    drop(painter, file.read_bytes(), "plain.png")
    expect(painter.get_by_alt_text("The picture plain.png")).to_be_visible()
    painter.get_by_role("button", name="Remove the picture").click()
    painter.get_by_label("Choose a picture").set_input_files(file)
    expect(painter.get_by_alt_text("The picture plain.png")).to_be_visible()
    painter.get_by_label("Width").fill("")
    image = generate(painter, "a red circle")
    assert opened(image).size[0] > 0


def test_a_picture_brings_its_own_size(painter: Any, tmp_path: Path) -> None:
    file = tmp_path / "wide.png"
    Image.new("RGB", (192, 96), "white").save(file)
    painter.get_by_label("Choose a picture").set_input_files(file)
    expect(painter.get_by_label("Width")).to_have_attribute("placeholder", "as the picture")
    assert opened(generate(painter, "a red circle")).size == (192, 96)
    painter.get_by_role("button", name="1:1", exact=True).click()
    assert opened(generate(painter, "a red square")).size == (128, 128)
