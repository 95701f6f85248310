"""All that only a GPU can answer, the most important first, within a time: `uv run python benchmarks/on_a_gpu.py --seconds 560`.

Runs the tests that need a CUDA device, the server's tests on it, and the benchmarks at SDXL's real size, each as a process of its
own with a limit. The whole output of each goes to a file, its end to the terminal. Steps for which no time is left are named.
Ends with 1 if a step failed or did not run. Needs 21 GB of disk in the temporary folder, for checkpoints with random weights.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from arguments import count
from rich.console import Console

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

_WRITE = "import pathlib, sys; from benchmarks.full_size import write_full_size; write_full_size(pathlib.Path(sys.argv[1]), 1)"
_WORTH_STARTING_S = 15
_SHOWN_LINES = 25


@dataclass(frozen=True, slots=True)
class Step:
    """One question."""

    name: str
    limit_s: int
    command: str
    """What Python is called with, as in a shell."""


def steps(checkpoint: Path) -> tuple[Step, ...]:
    """List the questions; `checkpoint` is written by one of them."""
    file, pytest = shlex.quote(str(checkpoint)), "-m pytest -q -p no:cacheprovider"
    image = f"benchmarks/full_size_image.py --device cuda --dtype float16 --side 1024 --steps 30 --guidance 7.5 --file {file}"
    server = " ".join(f"tests/web/api/test_{name}.py" for name in ("generate", "pictures", "out_of_memory"))
    rows = f"benchmarks/rows.py --device cuda --file {file} --sides 512 768 1024 --rows 1 2 4 8"
    alternating = "benchmarks/alternating.py --device cuda --full-size --side 1024 --steps 30 --images 6"
    return (
        Step("tests-gpu", 150, f"{pytest} -m gpu"),
        Step("tests-server", 120, f"{pytest} -m '' {server}"),
        Step("checkpoint", 90, f"-c {shlex.quote(_WRITE)} {file}"),
        Step("image-1024", 150, image),
        Step("rows", 100, rows),
        Step("alternating", 120, alternating),
        Step("tests-storm", 120, f"{pytest} -m '' tests/web/test_torture.py"),
        Step("image-1024-compiled", 300, f"{image} --compiled"),
    )


def main() -> None:
    """Ask, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=count, default=560, help="in all (default: 560)")
    parser.add_argument("--output", type=Path, default=Path("on_a_gpu"), help="folder of the files (default: on_a_gpu)")
    names = [step.name for step in steps(Path())]
    parser.add_argument("--only", nargs="+", choices=names, metavar="STEP", help="these alone: " + ", ".join(names))
    parser.add_argument("--list", action="store_true", help="print the steps and run none")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        asked = [
            step for step in steps(Path(folder) / "full.safetensors") if not options.only or step.name in options.only
        ]
        if options.list:
            for step in asked:
                console.print(f"{step.name}: at most {step.limit_s} s: python {step.command}", soft_wrap=True)
            return
        console.print(_card())
        options.output.mkdir(parents=True, exist_ok=True)
        ended = time.monotonic() + options.seconds
        failed = [step.name for step in asked if not _succeeds(step, options.output, ended, console)]
    if failed:
        sys.exit(f"Failed, or not run: {', '.join(failed)}.")


def _card() -> str:
    import torch

    if not torch.cuda.is_available():
        sys.exit(
            "torch sees no CUDA device. Run this on a machine with a GPU, its driver, and a build of torch for CUDA."
        )
    facts = torch.cuda.get_device_properties(0)
    return f"{facts.name}, {facts.total_memory / 1e9:.0f} GB, torch {torch.__version__}"


def _succeeds(step: Step, output: Path, ended: float, console: Console) -> bool:
    left_s = ended - time.monotonic()
    if left_s < _WORTH_STARTING_S:
        console.print(f"## {step.name}: no time left")
        return False
    console.print(f"## {step.name}")
    begun, log = time.monotonic(), output / f"{step.name}.log"
    with log.open("w") as file:
        command = [sys.executable, *shlex.split(step.command)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file, process_group=0)
        try:
            rc = process.wait(min(step.limit_s, left_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the servers that it has started
            process.wait()
            rc = None
    console.print("\n".join(log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]), markup=False)
    how = "ran out of its time" if rc is None else f"exit {rc}"
    console.print(f"## {step.name}: {how} after {time.monotonic() - begun:.0f} s; {log}")
    return rc == 0


if __name__ == "__main__":
    main()
