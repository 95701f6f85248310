"""Adapters that a prompt names, as AUTOMATIC1111's web UI reads them: `<lora:name:weight>`.

`<lora:name>` is the weight 1, `<lora:name:0.5>` the same weight for text encoders and denoiser, `<lora:name:0.5:0.8>` one for
the text encoders and one for the denoiser, which `te=0.5` and `unet=0.8` state too. `<lyco:...>` means the same. A tag is taken
out of the text before it is encoded. Two things differ from the web UI: a weight that is no number is an error, and the weights
of an adapter that is named twice add up; there, the last one counts twice.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ...models.adapters import MAX_WEIGHT, AdapterChoice
from ...shown import cut

_TAG = re.compile(r"<(?:lora|lyco):([^<>]{1,400})>")
_NAMED = {"te": "text_weight", "unet": "weight"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedPrompt:
    """A prompt, and the adapters that it named."""

    text: str
    """The prompt without tags."""
    adapters: tuple[AdapterChoice, ...] = ()
    problems: tuple[str, ...] = ()
    """Why tags cannot be read, as ends of sentences that begin with the field's name."""
    ignored: tuple[str, ...] = ()
    """Parts of tags that have no effect, as ends of sentences that begin with the field's name."""


def read_tags(prompt: str) -> TaggedPrompt:
    """Read the tags of a prompt. Takes time in proportion to its length."""
    tags = [_Tag(found.group(), found[1]) for found in _TAG.finditer(prompt)]
    if not tags:
        return TaggedPrompt(text=prompt)
    return TaggedPrompt(
        text=_TAG.sub("", prompt).strip(),
        adapters=tuple(choice for tag in tags if (choice := tag.choice) is not None),
        problems=tuple(problem for tag in tags for problem in tag.problems),
        ignored=tuple(ignored for tag in tags for ignored in tag.ignored),
    )


def tag_of(choice: AdapterChoice) -> str:
    """Write the tag that means the same as a choice."""
    weight, text_weight = choice.weight, choice.text_weight
    if text_weight is None or text_weight == weight:
        return f"<lora:{choice.name}:{weight:g}>"
    return f"<lora:{choice.name}:{text_weight:g}:{weight:g}>"


class _Tag:
    """One tag, taken apart."""

    def __init__(self, shown: str, content: str) -> None:
        name, *arguments = content.split(":")
        self._shown = cut(shown)
        self._name = name.strip()
        self._positional = [argument.strip() for argument in arguments if "=" not in argument]
        self._named = [argument.partition("=")[::2] for argument in arguments if "=" in argument]

    @property
    def choice(self) -> AdapterChoice | None:
        """The adapter and its weights; None if they cannot be read."""
        if any(self.problems):
            return None
        weights = {name: float(value) for name, value in self._weights()}
        text = weights.get("text_weight", 1.0)
        return AdapterChoice(name=self._name, weight=weights.get("weight", text), text_weight=text)

    @property
    def problems(self) -> Iterator[str]:
        """Say what is wrong."""
        if not self._name:
            yield f"has {self._shown!r}, which names no adapter"
        for _, value in self._weights():
            if not _is_weight(value):
                yield f"has {self._shown!r}: {cut(value)!r} must be a number from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}"

    @property
    def ignored(self) -> Iterator[str]:
        """Say what has no effect."""
        unread = [*self._positional[2:], *(name for name, _ in self._named if name.strip() not in _NAMED)]
        if unread:
            yield f"has {self._shown!r}: {', '.join(map(cut, unread))} has no effect."

    def _weights(self) -> Iterator[tuple[str, str]]:
        """Yield the weights that it states; a named one after the one that it replaces."""
        yield from zip(("text_weight", "weight"), self._positional, strict=False)
        yield from ((_NAMED[name.strip()], value.strip()) for name, value in self._named if name.strip() in _NAMED)


def _is_weight(value: str) -> bool:
    try:
        return abs(float(value)) <= MAX_WEIGHT
    except ValueError:
        return False
