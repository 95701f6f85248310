"""Refuses prompts that need too many encodings, and tells what of a prompt has no effect."""

from collections.abc import Iterator

from ...errors import FieldError
from ...shown import cut
from ..parameters import GenerationParameters, Limits
from ..passes import denoising_passes
from ..request import GenerationRequest
from .composition import UnequalParts, lowered_weights
from .conditioning_schedule import conditioning_schedule, texts_of
from .embedding_words import without_names
from .syntax import MAX_WEIGHT
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
    passes = denoising_passes(request)
    texts = len({texts for each in passes for texts in conditioning_schedule(each).texts})
    if texts > most:
        steps = " + ".join(str(each.denoising_steps) for each in passes)
        yield FieldError(
            field="prompt",
            message=f"changes between {texts} different texts in {steps} steps, negative ones and parts "
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
            for sentence in unread_syntax(
                without_names(_read(prompt, request), request.embeddings), reads_syntax=request.prompt_weighting
            )
        )
        yield from (f"{name} {sentence}" for sentence in sentences)


def embedding_warnings(parameters: GenerationParameters, request: GenerationRequest) -> Iterator[str]:
    """Tell which embeddings of an earlier image are others now, or gone."""
    used = {str(use.name): use.sha256 for use in request.embeddings}
    for name, expected in (parameters.embeddings or {}).items():
        if name not in used:
            yield f"The earlier image used the embedding {cut(name)!r}, which is not there or not named: the image may differ."
        elif used[name] != expected:
            yield (
                f"Embedding {name!r} is another file than that of the earlier image ({used[name][:12]}… beside "
                f"{expected[:12]}…): the image may differ."
            )


def all_texts(request: GenerationRequest) -> list[str]:
    """Return every text that is encoded for a request, for either encoder; the negative ones only with guidance."""
    texts = (pair for each in denoising_passes(request) for pair in conditioning_schedule(each).texts)
    return list(dict.fromkeys(text for pair in texts for text in (pair.prompt, pair.prompt_2)))


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
    return texts_of(prompt, request.prompt_steps, editing=request.prompt_weighting)[0].text
