"""Every tensor of the four networks, under its name in a diffusers folder and its names in single files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ...reading import Shapes
from ..configs import ComponentConfigs
from .layouts import COMPONENTS, PREFIXES, TITLES, ComponentName, Source, sources_of
from .tensor import Tensor
from .text_encoders import text_tensors
from .unet import unet_tensors
from .vae import is_of_encoder, vae_tensors

__all__ = ["COMPONENTS", "PREFIXES", "TITLES", "ComponentName", "Source"]

_MAX_NAMED = 3
_NO_ODD: Mapping[str, str] = {}


@lru_cache(maxsize=16)
def network_tensors(component: ComponentName, configs: ComponentConfigs) -> tuple[Tensor, ...]:
    """List the tensors of a network that is built from these configs."""
    if component == "unet":
        return tuple(unet_tensors(configs.unet))
    if component == "vae":
        return tuple(vae_tensors(configs.vae))
    if component == "text_encoder":
        return tuple(text_tensors(configs.text_encoder, projected=False))
    return tuple(text_tensors(configs.text_encoder_2, projected=True))


def checkpoint_sources(component: ComponentName, shapes: Shapes, configs: ComponentConfigs) -> dict[str, Source]:
    """Find in a single file the source of each tensor of a network, by its diffusers name; those without are left out."""
    found: dict[str, Source] = {}
    for tensor, candidates in _candidates(component, configs):
        source = next((source for source in candidates if source.fits(shapes.get(source.key))), None)
        if source is not None:
            found[tensor.diffusers] = source
    return found


def checkpoint_problems(shapes: Shapes, configs: ComponentConfigs, odd: Mapping[str, str] = _NO_ODD) -> list[str]:
    """List everything for which loading a single file would fail; empty if it fits.

    Args:
        shapes: every tensor of its header.
        configs: what the networks are built from.
        odd: dtypes of the tensors that hold no floating-point numbers.
    """
    lacking: list[str] = []
    problems: list[str] = []
    for component in COMPONENTS:
        found = _component_problems(component, shapes, configs, odd)
        if found is None:
            lacking.append(f"it lacks its {TITLES[component]}")
        else:
            problems += found
    return lacking + problems


def component_file_problems(
    component: ComponentName, shapes: Shapes, configs: ComponentConfigs, odd: Mapping[str, str] = _NO_ODD
) -> list[str]:
    """List the same for a file of one component alone, its tensors named as in a checkpoint."""
    found = _component_problems(component, shapes, configs, odd)
    return [f"it lacks its {TITLES[component]}"] if found is None else found


def component_problems(component: ComponentName, shapes: Shapes, configs: ComponentConfigs) -> list[str]:
    """List the same for the weights of one component in a diffusers folder."""
    bare = {key.removeprefix("text_model."): shape for key, shape in shapes.items()}  # transformers 5 drops the prefix
    found = _Problems()
    for tensor in network_tensors(component, configs):
        name = next((name for name in (tensor.diffusers, *tensor.older) if name in bare), tensor.diffusers)
        fits = bare.get(name) == tensor.shape
        found.add(tensor, None if fits else _problem(name, tensor.shape, bare), is_there=name in bare)
    return found.all


def join_problems(problems: list[str]) -> str:
    """Join the first few problems into one sentence."""
    more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
    return f"{'; '.join(problems[:_MAX_NAMED])}{more}"


@lru_cache(maxsize=16)
def _candidates(component: ComponentName, configs: ComponentConfigs) -> tuple[tuple[Tensor, tuple[Source, ...]], ...]:
    return tuple((tensor, sources_of(component, tensor)) for tensor in network_tensors(component, configs))


@dataclass(slots=True)
class _Problems:
    """Collects the problems of one component. A VAE may lack its whole encoder, which making pictures from text does not need."""

    needed: list[str] = field(default_factory=list[str])
    of_encoder: list[str] = field(default_factory=list[str])
    is_there: bool = False
    """Whether any of its tensors is there."""
    has_encoder: bool = False

    @property
    def all(self) -> list[str]:
        every = self.needed + self.of_encoder if self.has_encoder else self.needed
        return sorted(every, key=lambda problem: problem.endswith("is missing"))  # a wrong size says more

    def add(self, tensor: Tensor, problem: str | None, *, is_there: bool) -> None:
        """Take note of one tensor."""
        encodes = is_of_encoder(tensor)
        self.is_there = self.is_there or is_there
        self.has_encoder = self.has_encoder or (encodes and is_there)
        if problem is not None:
            (self.of_encoder if encodes else self.needed).append(problem)


def _component_problems(
    component: ComponentName, shapes: Shapes, configs: ComponentConfigs, odd: Mapping[str, str]
) -> list[str] | None:
    """List the problems of one component; None if nothing of it is there."""
    found = _Problems()
    for tensor, candidates in _candidates(component, configs):
        named = [source for source in candidates if source.key in shapes]
        fitting = next((source for source in named if source.fits(shapes[source.key])), None)
        problem = None
        if fitting is None:
            shown = (named or candidates)[0]
            problem = _problem(shown.key, shown.shape, shapes)
        elif fitting.key in odd:
            problem = f"{fitting.key} has dtype {odd[fitting.key]}, which holds no floating-point numbers"
        found.add(tensor, problem, is_there=bool(named))
    return found.all if found.is_there else None


def _problem(key: str, wanted: tuple[int, ...], shapes: Shapes) -> str:
    found = shapes.get(key)
    if found is None:
        return f"{key} is missing"
    return f"{key} has shape {list(found)} where {list(wanted)} is needed"
