"""What tests do on the page again and again."""

import base64
import io
import json
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

RESULT = ".stage .result img.large"
DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragover", "drop"]) {
    dispatchEvent(new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}"""


def generate(page: Any, prompt: str) -> bytes:
    """Write a prompt, send it by the keyboard, and return the file of the image that appears."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    return image_of(page, prompt)


def image_of(page: Any, prompt: str) -> bytes:
    """Return the file of the image that is shown, once it is that of a prompt; answers leave out what names adapters."""
    prompt = prompt.partition("<")[0].strip()
    page.locator(f'{RESULT}[alt^="Image of: {prompt}"]').wait_for()
    return shown_image(page)


def shown_image(page: Any) -> bytes:
    source = page.locator(RESULT).get_attribute("src")
    return base64.b64decode(source.partition(",")[2])


def drop(page: Any, data: bytes, name: str = "in.png") -> None:
    """Drop a file on the page."""
    page.evaluate(DROP, [name, base64.b64encode(data).decode()])


def receipt_of(**receipt: Any) -> bytes:
    """A PNG whose text says how it was made."""
    texts, file = PngInfo(), io.BytesIO()
    texts.add_text("litestar-diffusion", json.dumps(receipt))
    Image.new("RGB", (64, 64)).save(file, "PNG", pnginfo=texts)
    return file.getvalue()


def use_settings(page: Any, png: bytes) -> None:
    """Drop a PNG on the page, and have its settings used."""
    drop(page, png)
    page.get_by_role("dialog").get_by_role("button", name="Use its settings").click()
