"""Families of models: what differs between them stands behind these three functions. Adding one adds a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..domain.generation import GenerationRequest
from ..domain.model import ModelSpec
from ..domain.ports import Frugality, OnLoad, OnStep, Rendered
from .sdxl.load import load_model
from .sdxl.render import render


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one family are loaded and run."""

    load: Callable[[ModelSpec, Path, torch.dtype, OnLoad], Any]
    networks: Callable[[Any], tuple[nn.Module, ...]]
    render: Callable[[Any, GenerationRequest, OnStep, Frugality], Rendered]


FAMILIES = {"sdxl": Family(load=load_model, networks=lambda model: model.networks, render=render)}
