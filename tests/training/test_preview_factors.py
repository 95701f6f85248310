"""The fit finds what there is to be found, and sidecars keep the rest of what they say."""

import tomllib
from pathlib import Path

import pytest
import torch

from litestar_diffusion.infra.catalogue.models.sidecar import read_sidecar
from training.preview_factors import fit, samples, with_factors
from training.score import load_pipeline
from training.stages import MODELS


def test_a_linear_map_is_found_exactly() -> None:
    latents = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    matrix, bias = torch.arange(12.0).view(4, 3) / 10, torch.tensor([0.1, -0.2, 0.3])
    found = fit(latents, latents @ matrix + bias)
    torch.testing.assert_close(found, (matrix, bias), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["demo", "demo-vpred", "demo-turbo"])
def test_the_shipped_factors_give_the_colours_of_pictures_that_they_were_not_fitted_to(name: str) -> None:
    stated = read_sidecar(MODELS / f"{name}.toml").preview
    assert stated is not None
    latents, colours = samples(load_pipeline(MODELS / f"{name}.safetensors", MODELS / "demo.config").vae, 25, seed=1)
    shown = latents @ torch.tensor(stated.factors) + torch.tensor(stated.bias)
    assert float((shown.clamp(-1, 1) - colours).abs().mean() * 127.5) < 4


def test_writing_twice_changes_nothing_and_the_rest_of_a_sidecar_stays(tmp_path: Path) -> None:
    before = '# mine\nsampler = "euler"  # good\n'
    matrix, bias = torch.ones(4, 3), torch.zeros(3)
    once = with_factors(before, matrix, bias)
    assert once.startswith(before)
    assert with_factors(once, matrix, bias) == once
    file = tmp_path / "model.toml"
    file.write_text(once, encoding="utf-8")
    stated = read_sidecar(file)
    assert stated.preview is not None
    assert tuple(stated.preview.factors) == ((1.0, 1.0, 1.0),) * 4
    again = tomllib.loads(with_factors(once, matrix * 2, bias))
    assert again["preview"]["factors"][0] == [2.0, 2.0, 2.0]
    assert again["sampler"] == "euler"
