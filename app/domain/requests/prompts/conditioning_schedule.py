"""What the denoiser is told at each step of a request: a pure function of its prompts and of the number of its steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..request import GenerationRequest
from .editing import Passes, Stretch, prompt_schedule


@dataclass(frozen=True, slots=True)
class Texts:
    """The plain texts of one row of the denoiser's batch, which `prompt_syntax` reads."""

    prompt: str
    prompt_2: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of an image, from one step to another."""

    last_step: int
    """Counted from 1. The first one follows the stretch before."""
    negative: Texts | None
    """None without guidance."""
    positives: tuple[Texts, ...]

    @property
    def texts(self) -> tuple[Texts, ...]:
        """All rows in their order, the negative one first."""
        return self.positives if self.negative is None else (self.negative, *self.positives)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditioningSchedule:
    """The rows of an image at each of its steps; neighbouring stretches differ."""

    stretches: tuple[Rows, ...]
    weights: tuple[float, ...]
    """Of the positive rows."""

    @property
    def texts(self) -> tuple[Texts, ...]:
        """Every text that is needed, once, in the order in which they come."""
        return tuple(dict.fromkeys(texts for rows in self.stretches for texts in rows.texts))

    @property
    def negative_is_empty(self) -> bool:
        """Whether there is a negative row and its text is empty at every step."""
        negatives = [rows.negative for rows in self.stretches]
        return all(texts is not None and not texts.prompt and not texts.prompt_2 for texts in negatives)


def conditioning_schedule(request: GenerationRequest) -> ConditioningSchedule:
    """Make the schedule of one pass. Its steps are those that are taken, all of them from noise, some from a picture."""
    rows = [(part.prompt, part.prompt_2) for part in request.parts]
    if request.guided:
        rows.insert(0, (request.negative_prompt, request.negative_prompt_2))
    stretches = [
        Rows(
            last_step=last_step,
            negative=Texts(*texts[0]) if request.guided else None,
            positives=tuple(Texts(*pair) for pair in (texts[1:] if request.guided else texts)),
        )
        for last_step, texts in _stretches(rows, request.prompt_steps, editing=request.prompt_weighting)
    ]
    return ConditioningSchedule(stretches=tuple(stretches), weights=tuple(part.weight for part in request.parts))


def texts_of(prompt: str, passes: Passes, *, editing: bool) -> tuple[Stretch, ...]:
    """Return the texts that one prompt stands for; itself if it is not edited."""
    return _schedule(prompt, passes) if editing else (Stretch(passes.steps, prompt),)


@lru_cache(maxsize=128)
def _schedule(prompt: str, passes: Passes) -> tuple[Stretch, ...]:
    """Keep the schedules of the last prompts: a request needs its own several times, and they may take milliseconds."""
    return prompt_schedule(prompt, passes)


def _stretches(
    rows: Sequence[tuple[str, str]], passes: Passes, *, editing: bool
) -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """Yield the last step and the texts of all rows, each time that one of them changes."""
    schedules = [[texts_of(prompt, passes, editing=editing) for prompt in pair] for pair in rows]
    ends = {stretch.last_step for pair in schedules for schedule in pair for stretch in schedule}
    for last_step in sorted(ends):
        yield last_step, [(_at(one, last_step), _at(two, last_step)) for one, two in schedules]


def _at(schedule: Sequence[Stretch], step: int) -> str:
    return next(stretch.text for stretch in schedule if step <= stretch.last_step)
