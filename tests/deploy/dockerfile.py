"""Reads a Dockerfile, as far as ours goes: its stages, and what each of them runs and sets."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One `FROM`, with what the stages that it stands on have."""

    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    """Commands of this stage alone, without `--mount`."""
    healthcheck: str = ""
    user: str = ""


def stages_of(file: Path) -> dict[str, Stage]:
    """Return the stages by name."""
    stages: dict[str, Stage] = {}
    stage = Stage()
    for word, rest in _instructions(file.read_text()):
        match word:
            case "FROM":
                parent, _, name = rest.partition(" AS ")
                below = stages.get(parent, Stage())
                stage = Stage({**below.environment}, {**below.arguments}, [], below.healthcheck, below.user)
                stages[name] = stage
            case "ENV":
                stage.environment.update(_pairs(rest))
            case "ARG" if "=" in rest:
                stage.arguments.update(_pairs(rest))
            case "RUN":
                stage.runs.append(re.sub(r"--mount=\S+\s*", "", rest))
            case "HEALTHCHECK":
                stage.healthcheck = rest
            case "USER":
                stage.user = rest
            case _:
                pass
    return stages


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    split = (line.split(maxsplit=1) for line in whole.splitlines())
    return [(word, rest) for word, rest in split]


def _pairs(text: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in shlex.split(text))
