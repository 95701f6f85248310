"""What training writes is what diffusers reads."""

import random
import warnings
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn

from training.drawing import draw
from training.export import export_checkpoint, export_configs
from training.networks import Denoiser
from training.scenes import held_out_scenes
from training.score import load_pipeline
from training.tokenizer import load_tokenizers, write_tokenizers
from training.vae import CONFIG, SCALING_FACTOR, construct_encoder, encoded, pictures

CAPTIONS = [scene.caption for scene in held_out_scenes(30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configs")
    write_tokenizers(path, CAPTIONS)
    return path


def test_a_checkpoint_survives_the_way_through_diffusers(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, vae = Denoiser(load_tokenizers(folder)), AutoencoderKL(**CONFIG)
    export_configs(folder, model)
    export_checkpoint(tmp_path / "model.safetensors", model, vae, {"modelspec.title": "test"}, ("v_pred",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        pipeline = load_pipeline(tmp_path / "model.safetensors", folder)
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (pipeline.unet, model.unet),
        (pipeline.vae, vae),
        (pipeline.text_encoder, model.text_encoder),
        (pipeline.text_encoder_2, model.text_encoder_2),
    ]
    for loaded, trained in pairs:
        one, other = loaded.state_dict(), trained.state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key].half(), other[key].half()) for key in one)


def test_known_words_are_single_tokens_and_unknown_ones_still_split(folder: Path) -> None:
    for tokenizer in load_tokenizers(folder):
        assert len(tokenizer.tokenize(CAPTIONS[0])) == len(CAPTIONS[0].split())
        assert tokenizer.decode(tokenizer("a zebra, naïve?").input_ids, skip_special_tokens=True) == "a zebra , naïve ?"


def test_the_encoder_is_the_thumbnail_that_it_was_constructed_to_be() -> None:
    images = pictures(random.Random(0), 40)
    vae = AutoencoderKL(**CONFIG)
    construct_encoder(vae, images)
    with torch.no_grad():
        latents = vae.encode(images.float() / 127.5 - 1).latent_dist.mode() * SCALING_FACTOR
    assert (latents - encoded(vae, images)).abs().max() < 0.02
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.1
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.1


def test_pictures_of_any_size_are_drawn() -> None:
    assert draw(held_out_scenes(1)[0], 96, 160).size == (96, 160)
