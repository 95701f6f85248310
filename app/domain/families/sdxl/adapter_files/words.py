"""What an adapter's metadata says to people: its title, and the words that bring it out."""

from collections import Counter
from collections.abc import Mapping

import msgspec

_MOST_WORDS = 20
_MOST_CHARS = 100
_TAGS = msgspec.json.Decoder(dict[str, dict[str, int]])


def title_of(metadata: Mapping[str, str]) -> str | None:
    """Return the title of an adapter."""
    stated = metadata.get("modelspec.title") or metadata.get("ss_output_name") or ""
    return stated.strip()[:_MOST_CHARS] or None


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the stated trigger phrase, then the most frequent tags of the pictures that it was trained on."""
    phrase = metadata.get("modelspec.trigger_phrase", "").strip()
    words = ([phrase] if phrase else []) + [word for word, _ in _tags(metadata).most_common(_MOST_WORDS)]
    return tuple(dict.fromkeys(word[:_MOST_CHARS] for word in words))[:_MOST_WORDS]


def stated_alpha(metadata: Mapping[str, str]) -> float | None:
    """Return the alpha that kohya's sd-scripts write; None if there is none."""
    try:
        return float(metadata["ss_network_alpha"])
    except (KeyError, ValueError):
        return None


def _tags(metadata: Mapping[str, str]) -> Counter[str]:
    """Sum the tags of all folders of pictures."""
    found: Counter[str] = Counter()
    try:
        folders = _TAGS.decode(metadata.get("ss_tag_frequency") or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError):
        return found
    for tags in folders.values():
        for tag, count in tags.items():
            if word := tag.strip():
                found[word] += count
    return found
