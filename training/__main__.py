"""`python -m training`: trains the demo models from scratch, writes them, and prints their scores."""

import argparse
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

from PIL import Image

from .reading import read_picture
from .scenes import held_out_scenes, training_scene
from .score import contact_sheet, load_pipeline, paint, pairs_right, sampling_of, score
from .stages import FULL, MODELS, NAMES, QUICK, run_outline, run_stages, run_turbo


def main() -> None:
    """Parse the arguments, train, score."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few steps a stage: shows that everything runs, not a good model"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/training"), help="intermediate files; delete to start afresh"
    )
    parser.add_argument(
        "--out", type=Path, default=None, help="where checkpoints go (default: models/, or WORK with --quick)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that train together; one a core (default: 2)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--score-only", action="store_true", help="score the checkpoints in OUT without training")
    only.add_argument(
        "--turbo-only", action="store_true", help="distil demo-turbo from the demo-vpred in OUT, score it"
    )
    only.add_argument(
        "--outline-only", action="store_true", help="train the LoRA of the demo model in OUT, loras/outline.safetensors"
    )
    arguments = parser.parse_args()
    work = arguments.work / "quick" if arguments.quick else arguments.work
    out = arguments.out or (work / "models" if arguments.quick else MODELS)
    amounts = QUICK if arguments.quick else FULL
    if arguments.outline_only:
        run_outline(out, amounts.outline_steps)
        return
    if arguments.turbo_only:
        run_turbo(work, out, amounts.distillation)
    elif not arguments.score_only:
        run_stages(work, out, amounts, arguments.workers)
    for name in NAMES[-1:] if arguments.turbo_only else NAMES:
        report(out / f"{name}.safetensors", out / "demo.config", 10 if arguments.quick else 100, work)


def report(checkpoint: Path, configs: Path, count: int, sheets: Path) -> None:
    """Print the scores of a checkpoint, and save a sheet of samples."""
    sheets.mkdir(parents=True, exist_ok=True)
    pipeline, sampling = load_pipeline(checkpoint, configs), sampling_of(checkpoint)
    scenes = held_out_scenes(count)
    captions = [scene.caption for scene in scenes]
    pictures = paint(pipeline, sampling, captions)
    contact_sheet(pictures[:24], 8).save(sheets / f"{checkpoint.stem}.png")
    print(f"{checkpoint.stem}: {score(scenes, pictures)}", flush=True)
    if sampling.guidance <= 1:
        for steps in (1, 2, 3, 4, 8):
            painted = paint(pipeline, replace(sampling, steps=steps), captions)
            print(f"  {steps} steps: {score(scenes, painted)}", flush=True)
        return

    other = "epsilon" if sampling.prediction == "v_prediction" else "v_prediction"
    wrong = replace(sampling, prediction=other, zero_snr=False)
    print(f"  wrong prediction type: {score(scenes, paint(pipeline, wrong, captions))}", flush=True)

    rng = random.Random(11)
    pairs = [scene for scene in (training_scene(rng) for _ in range(count * 4)) if len(scene.figures) == 2][
        : count // 4
    ]
    painted = paint(pipeline, sampling, [scene.caption for scene in pairs])
    print(f"  two shapes both right: {pairs_right(pairs, painted)} of {len(pairs)}", flush=True)

    free = ["a circle on a white background"] * (count // 2)
    plain = _colours(paint(pipeline, sampling, free))
    usual, before = plain.most_common(1)[0]
    avoided = _colours(paint(pipeline, sampling, free, negative=f"a {usual} circle on a white background"))
    print(f"  colour left free: {usual} in {before} of {len(free)}; as negative prompt: {avoided[usual]}", flush=True)

    for guidance in (1.0, 2.0, 3.0, 5.0, 7.5):
        some = scenes[: count // 4]
        sweep = paint(pipeline, replace(sampling, guidance=guidance), captions[: count // 4])
        print(f"  guidance {guidance}: {score(some, sweep)}", flush=True)


def _colours(pictures: list[Image.Image]) -> Counter[str]:
    """Count the pictures whose largest figure has each colour."""
    return Counter(figure.colour for picture in pictures for figure in read_picture(picture).figures[:1])


if __name__ == "__main__":
    main()
