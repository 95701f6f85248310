"""Finds in the texts of an image file how the image was made, whichever program wrote them; and the port that reads the texts."""

from collections.abc import Callable, Mapping
from typing import Protocol

from .comfyui_graph import read_comfyui
from .image_metadata import PARAMETERS_KEY
from .infotext import Infotext, read_infotext
from .invokeai_metadata import read_invokeai, read_invokeai_2, read_invokeai_command

Read = Callable[[str], Infotext | None]

_READERS: Mapping[str, Read] = {
    "invokeai_metadata": read_invokeai,
    "sd-metadata": read_invokeai_2,
    "Dream": read_invokeai_command,
    "dream": read_invokeai_command,
    "prompt": read_comfyui,
}
"""Programs other than the web UI by the key of their text, the newest version first."""


class EmbeddedTexts(Protocol):
    """Reads the texts that image files carry."""

    async def read(self, data: bytes) -> Mapping[str, str]:
        """Read them from a PNG, JPEG or WebP file, in a worker thread, without decoding a pixel.

        Returns:
            Text by its key: that of a PNG's chunk; `parameters` for the EXIF UserComment.

        Raises:
            InvalidRequest: the file is none of these, or damaged.
        """
        ...


def read_generation_data(texts: Mapping[str, str]) -> tuple[str, Infotext | None]:
    """Find the generation data in texts of this server, the web UI, ComfyUI or InvokeAI.

    Returns:
        The text as the web UI would have written it, and what it says; empty and None if there is none.
    """
    if text := texts.get(PARAMETERS_KEY):
        return text, read_infotext(text)
    for key, read in _READERS.items():
        if (text := texts.get(key)) and (found := read(text)) is not None:
            return str(found), found
    return "", None
