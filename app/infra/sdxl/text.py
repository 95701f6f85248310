"""Prompts to embeddings, with both text encoders."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from ...domain.generation import GenerationRequest
from .components import SdxlModel


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What the UNet is told besides latents and timestep, a row for each of its batch.

    With guidance the rows are (negative, positive), otherwise the positive one alone.
    """

    sequence: Tensor
    """rows x 77 x (width of encoder 1 + width of encoder 2)."""
    pooled: Tensor
    """rows x projection width of encoder 2."""
    warnings: tuple[str, ...]


def encode(model: SdxlModel, request: GenerationRequest) -> Conditioning:
    """Encode the prompts of a request; the negative ones only where guidance makes them act."""
    skip, warnings = _skip(model, request.clip_skip)
    sequence, pooled = _encode_pair(model, (request.prompt, request.prompt_2), skip)
    warnings += _cut(model, ("prompt", request.prompt), ("prompt_2", request.prompt_2))
    if not request.guided:
        return Conditioning(sequence, pooled, tuple(warnings))
    if model.zero_empty_negative and not request.negative_prompt and not request.negative_prompt_2:
        negative = torch.zeros_like(sequence), torch.zeros_like(pooled)
    else:
        negative = _encode_pair(model, (request.negative_prompt, request.negative_prompt_2), skip)
        warnings += _cut(
            model, ("negative_prompt", request.negative_prompt), ("negative_prompt_2", request.negative_prompt_2)
        )
    return Conditioning(torch.cat([negative[0], sequence]), torch.cat([negative[1], pooled]), tuple(warnings))


def _encode_pair(model: SdxlModel, prompts: tuple[str, str], skip: int) -> tuple[Tensor, Tensor]:
    device = model.unet.device
    one = model.text_encoder(_ids(model.tokenizer, prompts[0], device), output_hidden_states=True)
    two = model.text_encoder_2(_ids(model.tokenizer_2, prompts[1], device), output_hidden_states=True)
    layer = -(skip + 2)  # SDXL counts from the last layer but one
    return torch.cat([one.hidden_states[layer], two.hidden_states[layer]], dim=-1), two.text_embeds


def _ids(tokenizer: CLIPTokenizer, prompt: str, device: torch.device) -> Tensor:
    encoded = tokenizer(
        prompt, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    return encoded.input_ids.to(device)


def _skip(model: SdxlModel, asked: int) -> tuple[int, list[str]]:
    layers = min(model.text_encoder.config.num_hidden_layers, model.text_encoder_2.config.num_hidden_layers)
    if asked <= layers - 1:
        return asked, []
    return layers - 1, [f"clip_skip was lowered from {asked} to {layers - 1}: the text encoders have {layers} layers."]


def _cut(model: SdxlModel, one: tuple[str, str], two: tuple[str, str]) -> list[str]:
    """A warning for each prompt that is longer than the text encoders take, quoting what they do not see."""
    found = [_cut_text(model.tokenizer, *one)]
    if one[1] != two[1]:
        found.append(_cut_text(model.tokenizer_2, *two))
    return [warning for warning in found if warning is not None]


def _cut_text(tokenizer: CLIPTokenizer, field: str, prompt: str) -> str | None:
    room = tokenizer.model_max_length - 2  # without the start and end tokens
    ids: list[int] = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
    if len(ids) <= room:
        return None
    lost = str(tokenizer.decode(ids[room:])).strip()
    return f"{field} is {len(ids)} tokens long and {room} fit; this end of it was not used: {lost!r}."
