"""What a request runs with: a model, and what is added to it."""

from dataclasses import dataclass

from .adapters import AdapterUse
from .spec import ModelName


@dataclass(frozen=True, slots=True)
class AssetSet:
    """A model and the assets that change its networks. A lease holds all of a set; requests of one lane have equal sets.

    Today every set holds one model and its adapters. VAEs and ControlNets become further fields.
    """

    model: ModelName
    adapters: tuple[AdapterUse, ...] = ()
    """In the order in which they were named; the order changes no picture."""
