"""Embeddings act as in diffusers, weights in brackets act on them, and no weight of the model changes."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from litestar_diffusion.domain.errors import GenerationFailed
from litestar_diffusion.domain.models.embeddings import EmbeddingName, EmbeddingReading, EmbeddingUse, usable
from litestar_diffusion.domain.requests.metadata.image_metadata import Provenance, receipt
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.request import Resolved
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.additions.embeddings import LocalEmbeddings
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.tokenization import tokens_of
from litestar_diffusion.infra.sdxl.conditioning import Conditioning
from litestar_diffusion.infra.sdxl.inspect import SdxlInspector
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.text import encode
from tests.infra.sdxl.test_render import MODELS, ignore, pixels, spec_of
from tests.render import render

TURQUOISE = (20, 175, 165)
WIDTHS = (64, 96)


@pytest.fixture(scope="module")
def model() -> SdxlModel:
    return load_model(spec_of(), MODELS / "demo.safetensors", Precision.of(torch.float32), ignore)


@pytest.fixture(scope="module")
def shipped() -> list[EmbeddingUse]:
    return usable(asyncio.run(LocalEmbeddings([MODELS], builtin=MODELS).list()))


def made(folder: Path, name: str, vectors: int, widths: tuple[int, int] = WIDTHS) -> EmbeddingUse:
    path = folder / f"{name}.safetensors"
    generator = torch.Generator().manual_seed(vectors)
    keys = ("clip_l", "clip_g")
    tensors = {key: torch.randn(vectors, width, generator=generator) for key, width in zip(keys, widths, strict=True)}
    save_file(tensors, path)
    reading = EmbeddingReading(family="sdxl", vectors=vectors, tensors=keys, widths=widths)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return EmbeddingUse(name=EmbeddingName(name), sha256=digest, path=path, reading=reading)


def resolved(prompt: str, known: list[EmbeddingUse], **parameters: Any) -> Resolved:
    asked = GenerationParameters(prompt=prompt, **{"seed": 3, **parameters})
    return resolve(asked, spec_of(), Limits(), random_seed=0, embeddings=known)


def encoded(model: SdxlModel, prompt: str, embeddings: list[EmbeddingUse]) -> Conditioning:
    with torch.inference_mode():
        return encode(model, resolved(prompt, embeddings, guidance_scale=1.0).request).of_stretch(0)


def test_the_built_in_one_paints_its_colour(model: SdxlModel, shipped: list[EmbeddingUse]) -> None:
    assert [use.name for use in shipped] == ["turquoise"]

    def share(embeddings: list[EmbeddingUse]) -> float:
        request = resolved("a turquoise square on a pink background", embeddings).request
        picture = pixels(render(model, request, ignore).images[0]).astype(int)
        return float((np.abs(picture - TURQUOISE).sum(axis=2) < 90).mean())

    assert share(shipped) > 0.15
    assert share([]) < 0.02


@pytest.mark.parametrize("vectors", [1, 3])
def test_encodings_equal_those_of_diffusers(model: SdxlModel, tmp_path: Path, vectors: int) -> None:
    use = made(tmp_path, "zzz", vectors)
    pipeline: Any = StableDiffusionXLPipeline.from_single_file(
        str(MODELS / "demo.safetensors"), config=str(MODELS / "demo.config"), local_files_only=True
    )
    tensors = load_file(use.path)
    for key, number in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            {"zzz": tensors[key]},
            token="zzz",
            text_encoder=getattr(pipeline, f"text_encoder{number}"),
            tokenizer=getattr(pipeline, f"tokenizer{number}"),
        )
    prompt = "a red zzz circle on a zzz background"
    with torch.no_grad():
        sequence, _, pooled, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False)
    ours = encoded(model, prompt, [use])
    assert torch.allclose(ours.sequence, sequence, atol=1e-3)
    assert torch.allclose(ours.pooled, pooled, atol=1e-3)


def test_weights_of_the_model_stay_as_they_are(model: SdxlModel, tmp_path: Path) -> None:
    before = encoded(model, "a red circle", []).sequence
    layers = [encoder.get_input_embeddings() for encoder in (model.text_encoder, model.text_encoder_2)]
    weights = [layer.weight.clone() for layer in layers]
    encoded(model, "a zzz circle", [made(tmp_path, "zzz", 2)])
    model.prompts.max_nbytes, kept = 0, model.prompts.max_nbytes
    assert torch.equal(encoded(model, "a red circle", []).sequence, before)
    model.prompts.max_nbytes = kept
    assert all(torch.equal(layer.weight, weight) for layer, weight in zip(layers, weights, strict=True))
    assert all(not layer._forward_hooks for layer in layers)


def test_weights_in_brackets_act_on_all_of_its_vectors(model: SdxlModel, tmp_path: Path) -> None:
    use = made(tmp_path, "zzz", 3)
    (chunk,) = tokens_of(model.tokenizer, "a (zzz:1.5) x", weighting=True, long=True, embeddings=[use]).chunks
    assert chunk.weights[:7] == (1.0, 1.0, 1.5, 1.5, 1.5, 1.0, 1.0)
    assert chunk.inserted == ((2, use),)
    plain, weighted = (encoded(model, prompt, [use]).sequence for prompt in ("a zzz x", "a (zzz:1.5) x"))
    assert not torch.allclose(plain[:, 2:5], weighted[:, 2:5])


def test_no_chunk_ends_inside_one(model: SdxlModel, tmp_path: Path) -> None:
    use = made(tmp_path, "zzz", 5)
    prompt = "a " * 73 + "zzz b"
    tokens = tokens_of(model.tokenizer, prompt, weighting=True, long=True, embeddings=[use])
    assert tokens.count == 73 + 5 + 1
    assert [chunk.inserted for chunk in tokens.chunks] == [(), ((1, use),)]
    cut = tokens_of(model.tokenizer, prompt, weighting=True, long=False, embeddings=[use])
    assert len(cut.chunks) == 1
    assert "'zzz b'" in cut.ignored[0]


def test_another_version_of_a_file_is_encoded_anew(model: SdxlModel, tmp_path: Path) -> None:
    one, other = (made(tmp_path / "", "zzz", 1), made(_sub(tmp_path), "zzz", 2))
    first = encoded(model, "zzz", [one]).sequence
    assert not torch.equal(first, encoded(model, "zzz", [other]).sequence)
    assert torch.equal(first, encoded(model, "zzz", [one]).sequence)


def _sub(folder: Path) -> Path:
    (folder / "sub").mkdir()
    return folder / "sub"


def test_a_file_that_changed_while_the_request_waited_fails_it(model: SdxlModel, tmp_path: Path) -> None:
    use = made(tmp_path, "changing", 4)
    use.path.write_bytes(use.path.read_bytes() + b" ")
    with pytest.raises(GenerationFailed, match="changed while the request waited"):
        encoded(model, "changing", [use])


def test_one_for_other_widths_is_read_as_words_with_a_warning(model: SdxlModel, tmp_path: Path) -> None:
    use = made(tmp_path, "zzz", 1, (768, 1280))
    plan = resolved("a zzz circle", [use])
    with torch.inference_mode():
        scheduled = encode(model, plan.request)
    expected = "Embedding 'zzz' has vectors of 768 and 1280 numbers, and the text encoders of this model need 64 and 96"
    assert scheduled.warnings[0].startswith(expected)
    assert torch.equal(scheduled.of_stretch(0).sequence[1:], encoded(model, "a zzz circle", []).sequence)
    inspection = SdxlInspector(spec_of(), MODELS / "demo.safetensors")(plan.request)
    assert inspection.warnings[0].startswith(expected)


def test_dry_runs_count_its_vectors(tmp_path: Path) -> None:
    inspect = SdxlInspector(spec_of(), MODELS / "demo.safetensors")
    request = resolved("[red:zzz:0.5] circle", [made(tmp_path, "zzz", 6)]).request
    (prompt,) = inspect(request).prompts
    assert [(text.text, text.tokens) for text in prompt.schedule] == [("red circle", 2), ("zzz circle", 7)]
    assert [(text.first_step, text.last_step) for text in prompt.schedule] == [(1, 7), (8, 14)]


def test_receipts_name_those_that_were_used_and_replays_compare_them(tmp_path: Path) -> None:
    zzz, other = made(tmp_path, "zzz", 1), made(tmp_path, "other", 2)
    plan = resolved("a [zzz|b] circle", [zzz, other])
    provenance = Provenance(model_version="1", dtype="float32", shared_steps=False)
    written = receipt(plan.request, seed=3, provenance=provenance).request
    assert written["embeddings"] == {"zzz": zzz.sha256}
    assert not resolved("a zzz circle", [zzz], embeddings=written["embeddings"]).warnings
    changed = resolved("a zzz circle", [made(_sub(tmp_path), "zzz", 3)], embeddings=written["embeddings"])
    assert changed.warnings[0].startswith("Embedding 'zzz' is another file")
    gone = resolved("a zzz circle", [], embeddings=written["embeddings"])
    assert gone.warnings[0].startswith("The earlier image used the embedding 'zzz', which is not there")
    assert "embeddings" not in receipt(resolved("a circle", [zzz]).request, seed=3, provenance=provenance).request


def test_an_unknown_one_is_a_warning(tmp_path: Path) -> None:
    (warning,) = resolved("embedding:zzz embedding:nothing", [made(tmp_path, "zzz", 1)]).warnings
    assert "has 'embedding:nothing', which was read as words: there is no embedding of this name" in warning
