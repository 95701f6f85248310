"""Refuses prompts that need too many encodings, and tells what of a prompt has no effect."""

from collections.abc import Iterator

from ..errors import FieldError
from .conditioning_schedule import conditioning_schedule, texts_of
from .parameters import Limits
from .prompt_composition import UnequalParts, lowered_weights
from .prompt_syntax import MAX_WEIGHT
from .request import GenerationRequest
from .unread_syntax import unread_syntax


def prompt_errors(request: GenerationRequest, limits: Limits) -> Iterator[FieldError]:
    """Find prompts whose parts do not match, or that need more encodings than `max_conditionings`."""
    most = limits.max_conditionings
    try:
        parts = len(request.parts)
    except UnequalParts as error:
        yield FieldError(field="prompt_2", message=str(error))
        return
    if parts > most:  # before the schedule is made, which takes time in proportion
        yield FieldError(
            field="prompt",
            message=f"must have at most {most} parts that AND divides, got {parts} (limits.max_conditionings)",
        )
        return
    texts = len(conditioning_schedule(request).texts)
    if texts > most:
        yield FieldError(
            field="prompt",
            message=f"changes between {texts} different texts in {request.denoising_steps} steps, negative ones and parts "
            f"included; at most {most} are encoded (limits.max_conditionings): use fewer options in [a|b], or fewer changes",
        )


def prompt_warnings(request: GenerationRequest) -> Iterator[str]:
    """Tell what was lowered or read as words."""
    if lowered_weights(request.parts) and request.prompt_weighting:
        yield f"prompt has parts whose weight is {MAX_WEIGHT:g} or more, which was lowered to {MAX_WEIGHT:g}."
    for name, prompts in _prompts(request).items():
        sentences = dict.fromkeys(
            sentence
            for prompt in prompts
            for sentence in unread_syntax(_read(prompt, request), reads_syntax=request.prompt_weighting)
        )
        yield from (f"{name} {sentence}" for sentence in sentences)


def _prompts(request: GenerationRequest) -> dict[str, list[str]]:
    """Return the parts of each prompt, by the name of its field; of those that two fields share, the first."""
    two, negative_two = request.prompt_2 != request.prompt, request.negative_prompt_2 != request.negative_prompt
    return {
        "prompt": [part.prompt for part in request.parts],
        "prompt_2": [part.prompt_2 for part in request.parts] if two else [],
        "negative_prompt": [request.negative_prompt],
        "negative_prompt_2": [request.negative_prompt_2] if negative_two else [],
    }


def _read(prompt: str, request: GenerationRequest) -> str:
    """Return what a prompt says at the first step."""
    return texts_of(prompt, request.denoising_steps, editing=request.prompt_weighting)[0].text
