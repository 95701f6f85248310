"""Pictures that the image begins from: dropped and chosen files."""

from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import expect

from tests.page.looking import RESULT, drop, generate, shown_image
from tests.pictures import opened


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


def test_the_first_picture_among_dropped_files_is_taken(painter: Any) -> None:
    painter.evaluate("""() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["text"], "notes.txt", { type: "text/plain" }));
      dataTransfer.items.add(new File(["no picture"], "in.png", { type: "image/png" }));
      dispatchEvent(new DragEvent("drop", { dataTransfer, cancelable: true }));
    }""")
    expect(painter.get_by_alt_text("The picture in.png")).to_have_count(1)


def test_a_dropped_text_is_left_to_the_browser(painter: Any) -> None:
    """It puts the text into the field under the pointer."""
    kept = painter.evaluate("""() => ["dragover", "drop"].map((kind) => {
      const dataTransfer = new DataTransfer();
      dataTransfer.setData("text/plain", "a red circle");
      return dispatchEvent(new DragEvent(kind, { dataTransfer, cancelable: true }));
    })""")
    assert kept == [True, True]


def test_the_offer_of_a_dropped_image_has_the_focus_and_closes_by_escape(painter: Any) -> None:
    drop(painter, generate(painter, "a red circle"))
    offer = painter.get_by_role("dialog")
    expect(offer).to_contain_text("says how it was made")
    assert painter.evaluate("document.activeElement.closest('dialog') !== null")
    painter.keyboard.press("Escape")
    expect(offer).to_have_count(0)
