"""Finds what other programs would act on in a prompt, and this server reads as words."""

import re
from collections.abc import Iterator

from ...shown import cut
from .embedding_words import UNKNOWN_EMBEDDING

_UNREAD = (
    (r"<(?:lora|lyco):[^<>]{1,200}>", "adapters are named in the prompt, not in the negative prompt"),
    (r"<hypernet:[^<>]{1,200}>", "hypernetworks are not loaded"),
    (UNKNOWN_EMBEDDING.pattern, "there is no embedding of this name that could be used (GET /embeddings lists all)"),
    (r"(?<!\w)__[\w/*-]{1,100}__(?!\w)", "wildcards are not replaced"),
    (r"(?<!\\)\{[^{}]{0,500}\|[^{}]{0,500}\}", "none of the variants is chosen"),
    (r"(?<!\\)\[[^\[\]]{0,500}:\s{0,9}[\d.]{1,9}\s{0,9}\]", "{editing}"),
    (r"(?<!\\)\[[^\[\]]{0,500}\|[^\[\]]{0,500}\]", "{editing}"),
    (r"\bAND\b", "{composition}"),
)
"""Syntax of AUTOMATIC1111's web UI, ComfyUI and their extensions, and what does not happen.
Bounded, so that no text takes long."""
_PATTERNS = tuple((re.compile(pattern), consequence) for pattern, consequence in _UNREAD)
_OFF = "prompt_weighting is off"
_ODD = "the prompt has another '|', a backslash at its end, or more colons than [from:to:when] has"
_NEGATIVE = "negative prompts are not composed"


def unread_syntax(text: str, *, reads_syntax: bool = True) -> Iterator[str]:
    """Yield the end of a sentence for each kind of syntax in a text; it begins with the name of the prompt's field.

    Args:
        text: what is left of a prompt once its changes and its parts have been read.
        reads_syntax: whether they were read; otherwise the text is the whole prompt.
    """
    reasons = {"editing": _ODD if reads_syntax else _OFF, "composition": _NEGATIVE if reads_syntax else _OFF}
    for pattern, consequence in _PATTERNS:
        if found := pattern.search(text):
            yield f"has {cut(found.group())!r}, which was read as words: {consequence.format(**reasons)}."
