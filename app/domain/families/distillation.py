"""Recognises few-step models by their metadata and their name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from ..models.spec import FewStep, FewStepKind

_USUAL: dict[FewStepKind, FewStep] = {
    # Fine-tunes after the example of the original Turbo, which is the only one that makes an image in one step.
    "turbo": FewStep(kind="turbo", steps=7, guidance_scale=2.0),
    "lightning": FewStep(kind="lightning", steps=4),
    "hyper": FewStep(kind="hyper", steps=8),
    "lcm": FewStep(kind="lcm", steps=4),
    "dmd2": FewStep(kind="dmd2", steps=4),
    "tcd": FewStep(kind="tcd", steps=4),
    "pcm": FewStep(kind="pcm", steps=4),
    "flash": FewStep(kind="flash", steps=7, guidance_scale=3.0),
}
_ORIGINAL_TURBO = FewStep(kind="turbo", steps=1)
_ORIGINAL = re.compile(r"(?<![a-z])sd ?xl ?turbo(?! ?[a-z])")
_WORDS: tuple[tuple[FewStepKind, re.Pattern[str]], ...] = (
    ("turbo", re.compile(r"turbo")),
    # "Thunder and lightning" is weather.
    ("lightning", re.compile(r"(?<!and )lightning")),
    # `hyper` begins many names of fine-tunes that are nothing of the kind: hyperrealistic, Hyper Real XL.
    ("hyper", re.compile(r"(?<![a-z])hyper(?=[ ]?(sd|xl|\d)|$)")),
    ("lcm", re.compile(r"(?<![a-z])lcm(?![a-z])")),
    ("dmd2", re.compile(r"(?<![a-z])dmd2?(?![a-z])")),
    ("tcd", re.compile(r"(?<![a-z])tcd(?![a-z])")),
    ("pcm", re.compile(r"(?<![a-z])pcm(?![a-z])")),
    ("flash", re.compile(r"(?<![a-z])sd ?xl ?flash(?![a-z])|(?<![a-z])flash ?sd ?xl")),
)
_STEPS = re.compile(r"(?<!\d)([1-9]\d?) ?steps?(?![a-z])")
_STEPS_OF_HYPER = re.compile(r"(?<![a-z])hyper ?([1-9]\d?)(?![\da-z])")
_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_DESCRIPTIONS = ("modelspec.title", "modelspec.architecture", "modelspec.tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class FewStepReading:
    """A few-step model as it was recognised, and the words that say so."""

    few_step: FewStep | None
    evidence: str
    words: str = ""
    """Text that says so, in lower case with one space between words."""


def few_step_of(kind: FewStepKind) -> FewStep:
    """Return what models of a kind are usually made for."""
    return _USUAL[kind]


def read_few_step(metadata: Mapping[str, str], name: str) -> FewStepReading:
    """Tell whether a model is distilled to few steps, by its metadata, then by its name."""
    title = " ".join(metadata[key] for key in _DESCRIPTIONS if key in metadata)
    for text, origin in ((title, "its modelspec metadata"), (name, "its name")):
        plain = _plain(text)
        kind: FewStepKind | None = next((kind for kind, pattern in _WORDS if pattern.search(plain)), None)
        if kind is not None:
            usual = _ORIGINAL_TURBO if kind == "turbo" and is_original_turbo(plain) else few_step_of(kind)
            steps = _steps(plain) or _steps(_plain(name)) or usual.steps
            return FewStepReading(
                few_step=msgspec.structs.replace(usual, steps=steps),
                evidence=f"few-step ({kind}, {steps} step{'s' if steps > 1 else ''}): {origin} says {text[:100]!r}",
                words=plain,
            )
    return FewStepReading(
        few_step=None,
        evidence=f"not few-step: neither its metadata nor its name says {', '.join(_USUAL)}",
    )


def is_original_turbo(words: str) -> bool:
    """Tell whether words name the original Turbo, made for one step and 512 pixels, rather than a fine-tune after its example."""
    return _ORIGINAL.search(words) is not None


def _plain(text: str) -> str:
    """Lower case, with one space between words: `dreamshaperXL_lightning-4Step` is `dreamshaper xl lightning 4 step`."""
    return re.sub(r"[^a-z0-9]+", " ", _CAMEL_HUMP.sub(" ", text).lower()).strip()


def _steps(plain: str) -> int | None:
    found = _STEPS.search(plain) or _STEPS_OF_HYPER.search(plain)
    return int(found[1]) if found else None
