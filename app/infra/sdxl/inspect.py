"""Tells tokens, cuts and sampler of a request from the model's configs and tokenizers alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from ...domain.models.spec import ModelSpec
from ...domain.requests.inspection import Inspection, PromptFacts, SamplerFacts, TextFacts
from ...domain.requests.prompts.conditioning_schedule import texts_of
from ...domain.requests.request import GenerationRequest
from ..diffusion.samplers import build_sampler, start
from ..diffusion.tokenization import tokens_of
from .embeddings import fitting
from .loading.components import SHIPPED_CONFIGS, TEXT_ENCODERS, load_tokenizer, read_config, read_sampler_config
from .loading.load import configs_of, traits_of


class SdxlInspector:
    """Inspects requests for one version of one model. One thread at a time: tokenizers are not thread-safe."""

    def __init__(self, spec: ModelSpec, files: Path | None) -> None:
        """Read the configs and tokenizers, some tenths of a second.

        Args:
            spec: the catalogue entry.
            files: the checkpoint or folder; None if it is not on disk; SDXL's own configs are used then.
        """
        configs = configs_of(spec, files) if files is not None else SHIPPED_CONFIGS
        self._sampler_config = read_sampler_config(configs)
        self._traits = traits_of(spec, self._sampler_config) if files is not None else spec.traits
        self._tokenizers = load_tokenizer(configs, "tokenizer"), load_tokenizer(configs, "tokenizer_2")
        self._widths = tuple(read_config(configs, f"{name}/config.json")["hidden_size"] for name in TEXT_ENCODERS)
        self._layers = min(read_config(configs, f"{name}/config.json")["num_hidden_layers"] for name in TEXT_ENCODERS)

    def __call__(self, request: GenerationRequest) -> Inspection:
        """Inspect a request."""
        embeddings, unfit = fitting(request.embeddings, self._widths)
        prompts = tuple(self._prompts(replace(request, embeddings=embeddings)))
        cut = (f"{prompt.field} {line}" for prompt in prompts for line in prompt.ignored)
        return Inspection(
            prompts=prompts,
            sampler=self._sampler(request),
            traits=self._traits,
            warnings=(*self._skipped(request), *unfit, *cut),
        )

    def _prompts(self, request: GenerationRequest) -> Iterator[PromptFacts]:
        """Describe the prompts that are read; one entry if both encoders read the same text."""
        one, two = self._tokenizers
        weights = [part.weight for part in request.parts]
        yield _facts("prompt", one, [part.prompt for part in request.parts], weights, request)
        if request.prompt_2 != request.prompt:
            yield _facts("prompt_2", two, [part.prompt_2 for part in request.parts], weights, request)
        if not request.guided or not (request.negative_prompt or request.negative_prompt_2):
            return
        yield _facts("negative_prompt", one, [request.negative_prompt], [1.0], request)
        if request.negative_prompt_2 != request.negative_prompt:
            yield _facts("negative_prompt_2", two, [request.negative_prompt_2], [1.0], request)

    def _skipped(self, request: GenerationRequest) -> Iterator[str]:
        """Translate `clip_skip` to the terms of `text`."""
        most = self._layers - 1
        if request.clip_skip > most:
            yield f"clip_skip was lowered from {request.clip_skip} to {most}: the text encoders have {self._layers} layers."

    def _sampler(self, request: GenerationRequest) -> SamplerFacts:
        sampler: Any = build_sampler(request.sampler, self._sampler_config, self._traits, request.timestep_spacing)
        config = {key: value for key, value in sampler.config.items() if not key.startswith("_")}
        timesteps = start(sampler, request.num_inference_steps)
        sigmas = getattr(sampler, "sigmas", None)
        return SamplerFacts(
            scheduler=type(sampler).__name__,
            config=config,
            timesteps=tuple(timesteps.tolist()),
            sigmas=tuple(float(sigma) for sigma in sigmas) if sigmas is not None else None,
        )


def _facts(
    field: str, tokenizer: CLIPTokenizer, parts: Sequence[str], weights: Sequence[float], request: GenerationRequest
) -> PromptFacts:
    """Tokenize every text that a prompt stands for."""
    schedule: list[TextFacts] = []
    ignored: dict[str, None] = {}
    for number, (part, weight) in enumerate(zip(parts, weights, strict=True), 1):
        first_step = 1
        for stretch in texts_of(part, request.prompt_steps, editing=request.prompt_weighting):
            tokens = tokens_of(
                tokenizer,
                stretch.text,
                weighting=request.prompt_weighting,
                long=request.long_prompts,
                embeddings=request.embeddings,
            )
            ignored |= dict.fromkeys(tokens.ignored)
            schedule.append(
                TextFacts(
                    text=stretch.text,
                    part=number,
                    weight=weight,
                    first_step=first_step,
                    last_step=stretch.last_step,
                    tokens=tokens.count,
                    chunks=len(tokens.chunks),
                )
            )
            first_step = stretch.last_step + 1
    return PromptFacts(
        field=field,
        tokens=max(text.tokens for text in schedule),
        chunks=max(text.chunks for text in schedule),
        ignored=tuple(ignored),
        schedule=tuple(schedule),
    )
