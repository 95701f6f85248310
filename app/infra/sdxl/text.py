"""Encodes prompts of any length with both text encoders, in chunks and with weighted words.

Chunks and weights follow AUTOMATIC1111's web UI, for which most published prompts are written; `domain.requests.prompt_syntax`
has the syntax.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from ...domain.families.sdxl.tensors.key_tensors import ComponentName
from ...domain.models.components import ComponentId
from ...domain.models.embeddings import EmbeddingUse
from ...domain.requests.prompts.conditioning_schedule import ConditioningSchedule, Texts, conditioning_schedule
from ...domain.requests.prompts.embedding_words import named_in
from ...domain.requests.request import GenerationRequest
from ..diffusion.prompt_cache import EncodedPrompt, PromptCache, PromptKey
from ..diffusion.side_paths.side_path import SidePaths, lay_side_paths, standing_in
from ..diffusion.tokenization import tokens_of
from .adapters.adapted import Adapted, acting
from .adapters.adapters import SdxlAdapter
from .conditioning import Conditioning, ScheduledConditioning
from .embeddings import EmbeddingVectors, fitting, vectors_inserted
from .loading.components import TEXT_ENCODERS, SdxlModel


def encode(
    model: SdxlModel,
    request: GenerationRequest,
    adapters: Sequence[SdxlAdapter] = (),
    adapted: Adapted | None = None,
) -> ScheduledConditioning:
    """Encode the prompts of a request, every text once; the negative ones only with guidance. Engine thread only.

    Each chunk is encoded alone, so that its embedding does not depend on the others.

    Args:
        model: the model.
        request: the resolved request.
        adapters: loaded adapters, in the order of the request's assets.
        adapted: what they change.
    """
    skip, warnings = _skip(model, request.clip_skip)
    embeddings, unfit = fitting(request.embeddings, _widths(model))
    readers = _readers(model, request, skip, embeddings, adapters, adapted)
    warnings += unfit
    schedule = conditioning_schedule(request)
    zeroed = model.zero_empty_negative and schedule.negative_is_empty
    encoded: dict[Texts, _Pair] = {}
    for rows in schedule.stretches:
        for texts in rows.positives if zeroed else rows.texts:
            if texts not in encoded:
                encoded[texts] = _read(readers, texts)
    warnings += dict.fromkeys(_all_ignored(schedule, encoded))
    return ScheduledConditioning(schedule, _rows(readers, encoded), zeroed_negative=zeroed, warnings=warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """One text encoder, with the options of a request for reading texts."""

    tokenizer: CLIPTokenizer
    encoder: Any
    identity: ComponentId
    layer: int
    """Layer whose hidden states are used, counted from the end."""
    weighting: bool
    long: bool
    cache: PromptCache
    adapters: tuple[tuple[str, str, float], ...]
    """Name, version and weight of each adapter that changes the encoder."""
    side_paths: SidePaths
    embeddings: tuple[EmbeddingUse, ...]
    """Embeddings whose names stand for their vectors."""
    vectors: EmbeddingVectors
    number: int
    """Of the encoder among those of the model."""

    def __call__(self, text: str) -> EncodedPrompt:
        key = PromptKey(
            encoder=self.identity,
            text=text,
            layer=self.layer,
            weighting=self.weighting,
            long=self.long,
            adapters=self.adapters,
            embeddings=tuple((use.name, use.sha256) for use in named_in([text], self.embeddings)),
        )
        if (kept := self.cache.get(key)) is not None:
            return kept.on(self.encoder.device)
        encoded = self._encode(text)
        self.cache.put(key, encoded)
        return encoded

    def _encode(self, text: str) -> EncodedPrompt:
        tokens = tokens_of(self.tokenizer, text, weighting=self.weighting, long=self.long, embeddings=self.embeddings)
        hidden: list[Tensor] = []
        pooled: list[Tensor | None] = []
        for chunk in tokens.chunks:
            ids = torch.tensor([chunk.ids], device=self.encoder.device)
            with standing_in(self.side_paths), vectors_inserted(self.encoder, chunk, self.vectors, self.number):
                read = self.encoder(ids, output_hidden_states=True)
            hidden.append(_weighted(read.hidden_states[self.layer], chunk.weights))
            pooled.append(getattr(read, "text_embeds", None))
        return EncodedPrompt(hidden=torch.cat(hidden, dim=1), pooled=pooled[0], ignored=tokens.ignored)


def _widths(model: SdxlModel) -> tuple[int, ...]:
    return tuple(encoder.config.hidden_size for encoder in (model.text_encoder, model.text_encoder_2))


def _readers(
    model: SdxlModel,
    request: GenerationRequest,
    skip: int,
    embeddings: tuple[EmbeddingUse, ...],
    adapters: Sequence[SdxlAdapter],
    adapted: Adapted | None,
) -> tuple[_Reader, _Reader]:
    ids = {component.name: component.id for component in model.components}
    uses = request.assets.adapters

    def reader(tokenizer: CLIPTokenizer, encoder: Any, name: ComponentName) -> _Reader:
        return _Reader(
            tokenizer=tokenizer,
            encoder=encoder,
            identity=ids[name],
            layer=-(skip + 2),  # SDXL counts from the last layer but one
            weighting=request.prompt_weighting,
            long=request.long_prompts,
            cache=model.prompts,
            adapters=tuple((use.name, use.version, use.text_weight) for use in acting(uses, adapters, name)),
            side_paths=() if adapted is None else lay_side_paths([adapted.of(name)]),
            embeddings=embeddings,
            vectors=model.embeddings,
            number=TEXT_ENCODERS.index(name),
        )

    return (
        reader(model.tokenizer, model.text_encoder, TEXT_ENCODERS[0]),
        reader(model.tokenizer_2, model.text_encoder_2, TEXT_ENCODERS[1]),
    )


_Pair = tuple[EncodedPrompt, EncodedPrompt]
"""A text for each of the two encoders."""


def _read(readers: tuple[_Reader, _Reader], texts: Texts) -> _Pair:
    return readers[0](texts.prompt), readers[1](texts.prompt_2)


def _rows(readers: tuple[_Reader, _Reader], encoded: Mapping[Texts, _Pair]) -> dict[Texts, Conditioning]:
    """Make a row of each pair, as long as the longest of all texts; shorter ones are filled with empty chunks."""
    length = max(each.hidden.shape[1] for pair in encoded.values() for each in pair)
    rows: dict[Texts, Conditioning] = {}
    for texts, pair in encoded.items():
        halves = [_lengthened(reader, each, length) for reader, each in zip(readers, pair, strict=True)]
        pooled = pair[1].pooled
        assert pooled is not None
        rows[texts] = Conditioning(torch.cat(halves, dim=-1), pooled)
    return rows


def _lengthened(reader: _Reader, encoded: EncodedPrompt, length: int) -> Tensor:
    missing = length - encoded.hidden.shape[1]
    if not missing:
        return encoded.hidden
    empty = reader("").hidden
    return torch.cat([encoded.hidden, *[empty] * (missing // empty.shape[1])], dim=1)


def _weighted(hidden: Tensor, weights: Sequence[float]) -> Tensor:
    """Multiply each token's vector by its weight, then everything by one number that restores the mean.

    With z the hidden states of one chunk (1 x 77 x width) and w its weights: z' = z * w * mean(z) / mean(z * w), the mean
    over all tokens and channels; AUTOMATIC1111's `Original` emphasis. If the quotient is not a positive number, the mean
    stays unrestored. Weights of 1 change no bit.
    """
    if all(weight == 1.0 for weight in weights):
        return hidden
    plain = hidden.float()
    scaled = plain * torch.tensor(weights, device=hidden.device)[None, :, None]
    ratio = plain.mean() / scaled.mean()
    ratio = torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0)
    return (scaled * ratio).to(hidden.dtype)


def _skip(model: SdxlModel, asked: int) -> tuple[int, list[str]]:
    layers = min(model.text_encoder.config.num_hidden_layers, model.text_encoder_2.config.num_hidden_layers)
    if asked <= layers - 1:
        return asked, []
    return layers - 1, [f"clip_skip was lowered from {asked} to {layers - 1}: the text encoders have {layers} layers."]


def _all_ignored(schedule: ConditioningSchedule, encoded: Mapping[Texts, _Pair]) -> Iterator[str]:
    """List what was cut or changed of the texts, those of the prompt first."""
    for rows in schedule.stretches:
        for texts in rows.positives:
            yield from _ignored(encoded[texts], texts, ("prompt", "prompt_2"))
    for rows in schedule.stretches:
        if rows.negative is not None and rows.negative in encoded:
            yield from _ignored(encoded[rows.negative], rows.negative, ("negative_prompt", "negative_prompt_2"))


def _ignored(pair: _Pair, texts: Texts, fields: tuple[str, str]) -> Iterator[str]:
    """List what was cut or changed of each text; one entry if both encoders read the same text."""
    for index in range(1 if texts.prompt == texts.prompt_2 else 2):
        yield from (f"{fields[index]} {line}" for line in pair[index].ignored)
