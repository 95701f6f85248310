"""Recognises few-step models by their metadata and their name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..models.spec import FewStep, FewStepKind

USUAL_STEPS: dict[FewStepKind, int] = {"turbo": 1, "lightning": 4, "hyper": 8, "lcm": 4, "dmd2": 4}

_WORDS: tuple[tuple[FewStepKind, re.Pattern[str]], ...] = (
    ("turbo", re.compile(r"turbo")),
    ("lightning", re.compile(r"lightning")),
    # `hyper` begins many names of fine-tunes that are nothing of the kind: hyperrealistic, Hyper Real XL.
    ("hyper", re.compile(r"(?<![a-z])hyper(?=[ ]?(sd|xl|\d)|$)")),
    ("lcm", re.compile(r"(?<![a-z])lcm(?![a-z])")),
    ("dmd2", re.compile(r"(?<![a-z])dmd2?(?![a-z])")),
)
_STEPS = re.compile(r"(?<!\d)([1-9]\d?) ?steps?(?![a-z])")
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_DESCRIPTIONS = ("modelspec.title", "modelspec.architecture", "modelspec.tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class FewStepReading:
    """A few-step model as it was recognised, and the words that say so."""

    few_step: FewStep | None
    evidence: str
    words: str = ""
    """Text that says so, in lower case with one space between words."""


def read_few_step(metadata: Mapping[str, str], name: str) -> FewStepReading:
    """Tell whether a model is distilled to few steps, by its metadata, then by its name."""
    title = " ".join(metadata[key] for key in _DESCRIPTIONS if key in metadata)
    for text, origin in ((title, "its modelspec metadata"), (name, "its name")):
        plain = _plain(text)
        kind: FewStepKind | None = next((kind for kind, pattern in _WORDS if pattern.search(plain)), None)
        if kind is not None:
            steps = _steps(plain) or _steps(_plain(name)) or USUAL_STEPS[kind]
            return FewStepReading(
                few_step=FewStep(kind=kind, steps=steps),
                evidence=f"few-step ({kind}, {steps} step{'s' if steps > 1 else ''}): {origin} says {text[:100]!r}",
                words=plain,
            )
    return FewStepReading(
        few_step=None,
        evidence="not few-step: neither its metadata nor its name says turbo, lightning, hyper, lcm or dmd2",
    )


def _plain(text: str) -> str:
    """Lower case, with one space between words: `dreamshaperXL_lightning-4Step` is `dreamshaper xl lightning 4 step`."""
    return re.sub(r"[^a-z0-9]+", " ", _CAMEL_HUMP.sub(" ", text).lower()).strip()


def _steps(plain: str) -> int | None:
    found = _STEPS.search(plain)
    return int(found[1]) if found else None
