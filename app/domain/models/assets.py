"""What a request runs with: a model, and what is added to it."""

from dataclasses import dataclass

from .spec import ModelName


@dataclass(frozen=True, slots=True)
class AssetSet:
    """A model and the assets that change its networks. A lease holds all of a set; requests of one lane have equal sets.

    Today every set holds one model. LoRAs, embeddings, VAEs and ControlNets become further fields.
    """

    model: ModelName
