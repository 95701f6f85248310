"""The stages of training, in order. Each writes one file, and is skipped if its file exists."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from .adapter import train_outlines
from .denoiser import Plan, load_denoiser, train_denoiser
from .export import export_checkpoint, export_configs
from .networks import Denoiser
from .noise import Prediction
from .preview_factors import write_preview_factors
from .scenes import training_scene
from .score import load_pipeline
from .tokenizer import write_tokenizers
from .trajectories import Trajectories, follow_trajectories, load_teacher
from .turbo import Distillation, distil
from .vae import load_vae, shift_latents, train_vae

MODELS = Path(__file__).parents[1] / "models"
NAMES = ("demo", "demo-vpred", "demo-turbo")
_PREDICTIONS: dict[str, Prediction] = {"demo": "epsilon", "demo-vpred": "v_prediction"}
_LATENT_MEANS = {"demo-vpred": -1.5}
_CAPTIONS = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Amount of work of each stage, in steps, not in minutes, so that a busy machine trains as well as an idle one."""

    decoder_pictures: int
    decoder_steps: int
    pictures: int
    """Square pictures that each worker draws for the denoisers; other sizes in proportion."""
    trunk_steps: int
    branch_steps: dict[str, int]
    """Steps by name. The branch that keeps the trunk's prediction has less to learn."""
    distillation: Distillation
    outline_steps: int


FULL = Amounts(
    decoder_pictures=3000,
    decoder_steps=3000,
    pictures=8000,
    trunk_steps=1500,
    branch_steps={"demo": 3000, "demo-vpred": 1600},
    distillation=Distillation(pictures=3000, steps=1500),
    outline_steps=300,
)
QUICK = Amounts(
    decoder_pictures=600,
    decoder_steps=20,
    pictures=200,
    trunk_steps=5,
    branch_steps={"demo": 5, "demo-vpred": 5},
    distillation=Distillation(pictures=64, steps=5),
    outline_steps=5,
)


def run_stages(work: Path, out: Path, amounts: Amounts, workers: int) -> None:
    """Train everything; an interrupted run continues with its first unfinished stage.

    Args:
        work: where intermediate files are kept.
        out: where the checkpoints, their configs and sidecars go.
        amounts: how much to train.
        workers: how many single-threaded processes train one denoiser together.
    """
    configs, vae = work / "config", work / "vae.pt"
    work.mkdir(parents=True, exist_ok=True)
    captions = (training_scene(random.Random(i)).caption for i in range(_CAPTIONS))
    write_tokenizers(configs, captions)
    shutil.copytree(configs, out / "demo.config", dirs_exist_ok=True)
    _once(vae, lambda part: train_vae(part, amounts.decoder_steps, amounts.decoder_pictures))

    def denoiser(name: str, prediction: Prediction, steps: int, start: Path | None) -> Path:
        plan = Plan(
            prediction=prediction,
            zero_snr=prediction == "v_prediction",
            steps=steps,
            configs=configs,
            vae=vae,
            start=start,
            out=work / f"{name}.part",
            learning_rate=1.5e-3 if start else 2e-3,
            final=start is not None,
            latent_mean=_LATENT_MEANS.get(name, 0.0),
            workers=workers,
            pictures=amounts.pictures,
        )
        return _once(work / f"{name}.pt", lambda _: train_denoiser(plan))

    trunk = denoiser("trunk", "v_prediction", amounts.trunk_steps, None)
    for name, prediction in _PREDICTIONS.items():
        model = load_denoiser(denoiser(name, prediction, amounts.branch_steps[name], trunk), configs)
        autoencoder = load_vae(vae)
        shift_latents(autoencoder, _LATENT_MEANS.get(name, 0.0))
        export(name, prediction, model, autoencoder, out)
    run_turbo(work, out, amounts.distillation)
    run_outline(out, amounts.outline_steps)


def run_outline(out: Path, steps: int) -> None:
    """Train the LoRA that draws outlines for the checkpoint `demo` in `out`."""
    pictures = min(_CAPTIONS, steps * 10)
    train_outlines(
        out / "demo.safetensors", out / "demo.config", steps, pictures, out / "loras" / "outline.safetensors"
    )


def run_turbo(work: Path, out: Path, distillation: Distillation) -> None:
    """Distil `demo-turbo` from the checkpoint `demo-vpred` in `out`."""
    checkpoint, configs = out / "demo-vpred.safetensors", out / "demo.config"
    work.mkdir(parents=True, exist_ok=True)
    teacher = load_teacher(checkpoint, configs)

    def keep(part: Path) -> None:
        found = follow_trajectories(teacher, configs, distillation.pictures)
        torch.save((found.latents, found.ends, found.ids), part)

    def learn(part: Path) -> None:
        distil(teacher, Trajectories(*torch.load(trajectories)), distillation.steps, part)

    trajectories = _once(work / "trajectories.pt", keep)
    student = load_denoiser(_once(work / "demo-turbo.pt", learn), configs)
    export("demo-turbo", "v_prediction", student, load_pipeline(checkpoint, configs).vae, out)


def export(name: str, prediction: Prediction, model: Denoiser, autoencoder: AutoencoderKL, out: Path) -> None:
    """Write the checkpoint `name` with its configs and its sidecar."""
    velocity = prediction == "v_prediction"
    out.mkdir(parents=True, exist_ok=True)
    export_configs(out / "demo.config", model)
    if out.resolve() != MODELS.resolve():
        shutil.copy(MODELS / f"{name}.toml", out)
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base",
        "modelspec.title": name,
        "modelspec.resolution": "128x128",
        "modelspec.prediction_type": "v" if velocity else "epsilon",
    }
    path = out / f"{name}.safetensors"
    export_checkpoint(path, model, autoencoder, metadata, ("v_pred", "ztsnr") if velocity else ())
    write_preview_factors(path, out / "demo.config")


def _once(path: Path, stage: Callable[[Path], None]) -> Path:
    """Run a stage that writes `<path>.part` unless an earlier run ended it."""
    if path.exists():
        print(f"{path.name} is there already", flush=True)
    else:
        part = path.with_suffix(".part")
        stage(part)
        part.rename(path)
    return path
