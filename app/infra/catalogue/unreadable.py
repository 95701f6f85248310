"""Files that are not read, and why."""

from pathlib import Path

from ...domain.families.reading import NotServable
from .scan import unfinished_marks

PICKLE_REASON = (
    "it is a pickle. Pickles can run code when they are loaded and are never opened here: convert it to .safetensors "
    "with a tool that you trust, or look for a safetensors version of the model."
)

_UNFINISHED = (
    "it is still being downloaded: {!r} lies beside it. Wait until the download ends; if none is running, delete both files and "
    "download it again."
)


def refuse_unfinished(file: Path) -> None:
    """Refuse a file that a downloader still writes to.

    Raises:
        NotServable: naming what lies beside it.
    """
    if (mark := next((mark for mark in unfinished_marks(file) if mark.exists()), None)) is not None:
        raise NotServable(_UNFINISHED.format(mark.name))


def printable(text: str) -> str:
    """File names may hold bytes that are no text, and no JSON could carry them."""
    return text.encode("utf-8", "backslashreplace").decode()
