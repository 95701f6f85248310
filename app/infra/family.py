"""Families of models: what differs between them stands behind these functions. Adding one adds a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..domain.generation import GenerationRequest
from ..domain.model import ModelSpec
from ..domain.ports import Frugality, OnLoad, OnStep, Rendered
from .filling import ReadBy
from .sdxl.load import load_model, weights_elements
from .sdxl.render import render
from .store import ComponentStore


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one family are loaded and run. What `load` returns lists its `components`."""

    load: Callable[[ModelSpec, Path, torch.dtype, OnLoad, ComponentStore, ReadBy], Any]
    elements: Callable[[ModelSpec, Path], int]
    """How many numbers the weights hold that `load` would read."""
    render: Callable[[Any, GenerationRequest, OnStep, Frugality], Rendered]


FAMILIES = {"sdxl": Family(load=load_model, elements=weights_elements, render=render)}
