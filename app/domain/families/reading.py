"""What a family reads from the files of a model. No tensor is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..models.spec import ModelTraits, PredictionType

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor names and shapes."""
ReadConfig = Callable[[str], bytes | None]
"""Content of a config file by its path inside a folder, such as `unet/config.json`; None if there is no such file. It raises
NotServable if the file cannot be read."""

PREDICTION_TITLES: dict[PredictionType, str] = {"epsilon": "epsilon prediction", "v_prediction": "v-prediction"}


class NotServable(ValueError):
    """The files are of no model that a family serves; the message says what they are, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """One `.safetensors` file, as far as its header tells."""

    shapes: Shapes
    metadata: Mapping[str, str]
    name: str
    """File name without suffix; the weakest evidence."""
    read_config: ReadConfig
    """Reads component configs beside the file; finds none if there are none."""
    odd: Mapping[str, str] = field(default_factory=dict[str, str])
    """Dtypes of the tensors that hold no floating-point numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusersFolder:
    """A folder in the diffusers layout, as far as its configs and headers tell."""

    pipeline: str
    """Class that its `model_index.json` names."""
    parts: Mapping[str, Sequence[str | None] | None]
    """Library and class of each component; nulls for one that is left out."""
    names: tuple[str, ...]
    """Names of the model, most telling first."""
    read_config: ReadConfig
    read_shapes: Callable[[str], Shapes]
    """Reads the headers of the weights of a component; raises NotServable if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What cannot be told from the files, and changes the picture."""

    about: frozenset[str]
    """Names of the `ModelOverrides` of which each, if a person states it, ends the doubt."""
    text: str
    """Sentence for clients, which says what to do."""
    refuses: bool = False
    """Whether the model is not served while the doubt lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Traits, and how each was found, in words."""

    traits: ModelTraits
    evidence: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()
    networks: object = None
    """Sizes of the networks, as the family's memory estimate needs them; None: its usual ones."""
