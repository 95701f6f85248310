"""Kinds of arguments, refused with a reason before a benchmark spends minutes on them."""

import argparse
import re
from pathlib import Path


def count(text: str) -> int:
    """A whole number of at least one."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def checkpoint(text: str) -> Path:
    """A safetensors file that is there."""
    path = Path(text)
    if not path.is_file() or path.suffix != ".safetensors":
        raise argparse.ArgumentTypeError(f"{text!r} is not a .safetensors file; leave it out to have one made")
    return path


def device(text: str) -> str:
    """A device by torch's name."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device: auto, cpu, mps, cuda or cuda:1")
    return text
