"""Distillation: what the teacher's trajectories are, and that a student learns them."""

from pathlib import Path

import pytest
import torch

from training.networks import Denoiser
from training.noise import schedule
from training.stages import MODELS
from training.trajectories import TIMESTEPS, Trajectories, follow_trajectories, load_teacher
from training.turbo import distil

CONFIGS = MODELS / "demo.config"


@pytest.fixture(scope="module")
def teacher() -> Denoiser:
    return load_teacher(MODELS / "demo-vpred.safetensors", CONFIGS)


@pytest.fixture(scope="module")
def trajectories(teacher: Denoiser) -> Trajectories:
    return follow_trajectories(teacher, CONFIGS, 8)


def test_a_trajectory_goes_from_noise_to_its_end(trajectories: Trajectories) -> None:
    noise = schedule(zero_snr=True)
    assert trajectories.latents.shape == (8, len(TIMESTEPS), 4, 16, 16)
    assert trajectories.latents[:, 0].float().std() == pytest.approx(1, abs=0.03), "the first is pure noise"
    ends = trajectories.ends.float()
    away = [
        (trajectories.latents[:, position].float() - noise.signal[timestep] * ends).square().mean().item()
        for position, timestep in enumerate(TIMESTEPS)
    ]
    expected = [noise.noise[timestep].item() ** 2 for timestep in TIMESTEPS]
    assert away == sorted(away, reverse=True)
    assert away[-1] == pytest.approx(expected[-1], abs=0.01), "the last is the end with that timestep's noise"


def test_the_same_seed_gives_the_same_trajectories(teacher: Denoiser, trajectories: Trajectories) -> None:
    again = follow_trajectories(teacher, CONFIGS, 8)
    assert torch.equal(again.latents, trajectories.latents)
    assert torch.equal(again.ids[0], trajectories.ids[0])


@pytest.mark.slow
def test_a_student_comes_nearer_to_the_ends_and_keeps_the_text_encoders(
    teacher: Denoiser, trajectories: Trajectories, tmp_path: Path
) -> None:
    distil(teacher, trajectories, 12, tmp_path / "student.pt")
    student = load_teacher(MODELS / "demo-vpred.safetensors", CONFIGS)
    student.load_state_dict(torch.load(tmp_path / "student.pt"))
    assert error(student, trajectories) < 0.9 * error(teacher, trajectories)
    for name, weight in student.state_dict().items():
        if not name.startswith("unet."):
            assert torch.equal(weight, teacher.state_dict()[name]), name


@torch.no_grad()
def error(model: Denoiser, trajectories: Trajectories) -> float:
    """Of the ends, predicted from pure noise in one step."""
    sequence, pooled = model.encode(trajectories.ids)
    timesteps = torch.full((len(trajectories.ends),), TIMESTEPS[0])
    noisy = trajectories.latents[:, 0].float()
    arrived = schedule(zero_snr=True).clean(noisy, model(noisy, timesteps, sequence, pooled), timesteps)
    return (arrived - trajectories.ends.float()).square().mean().item()
