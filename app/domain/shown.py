"""Texts from outside, cut so that they can be compared and shown."""

MAX_SHOWN_CHARS = 60
"""Characters of a name or value from outside that are compared or shown."""


def cut(text: str) -> str:
    """Shorten a text from outside to `MAX_SHOWN_CHARS`."""
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
