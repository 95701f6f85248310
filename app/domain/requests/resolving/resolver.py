"""Finds what a request names, checks it and resolves it: all that is done before a request waits for a device."""

import asyncio

from ...errors import InvalidRequest, UnusableModel
from ...models.catalogue import Catalogues
from ...models.embeddings import EmbeddingCatalogue, usable
from ...models.spec import ModelSpec
from ..additions import Additions, find_additions
from ..parameters import GenerationParameters, Limits
from ..passes import denoising_passes
from ..pictures.image_reader import ImageReader
from ..pictures.picture import Uploads
from ..request import Resolved
from ..seed import random_seed
from .broken_limits import broken_limits
from .resolution import resolve


class RequestResolver:
    """What making images and a dry run have in common, so that both refuse the same. Event loop only."""

    def __init__(
        self, catalogues: Catalogues, reader: ImageReader, limits: Limits, embeddings: EmbeddingCatalogue
    ) -> None:
        self._catalogues = catalogues
        self._reader = reader
        self._limits = limits
        self._embeddings = embeddings

    async def entry(self, model: str) -> ModelSpec:
        """Find a model by a name or an alias; raises UnknownModel."""
        return await self._catalogues.models.find(model)

    async def checked(self, model: str, parameters: GenerationParameters) -> tuple[ModelSpec, Uploads]:
        """Check what can be checked without the files of the model; returns its entry and the pictures of the request.

        Raises:
            UnknownModel, UnknownAdapter, UnknownVae: there is none of this name.
            UnusableModel, UnusableAdapter, UnusableVae: it cannot be used, or not with this model.
            InvalidRequest: naming every wrong field.
        """
        spec = await self.entry(model)
        if spec.unusable is not None:
            raise UnusableModel(spec.name, spec.unusable)
        uploads = await self._reader.read(parameters.image, parameters.mask)
        if errors := broken_limits(parameters, spec, self._limits, uploads):
            raise InvalidRequest(errors)
        await self.additions(parameters, spec)
        return spec, uploads

    async def additions(self, parameters: GenerationParameters, spec: ModelSpec) -> Additions:
        """Find the adapters, the VAE and the upscaler that a request names; raises as `checked` does."""
        return await find_additions(parameters, spec, self._limits, self._catalogues)

    async def resolved(self, parameters: GenerationParameters, spec: ModelSpec, uploads: Uploads) -> Resolved:
        """Resolve a request that `checked` has let pass; raises as `checked` does, because files may have changed."""
        additions = await self.additions(parameters, spec)
        # In a thread: a prompt that changes at every step takes milliseconds to read.
        return await asyncio.to_thread(
            resolve,
            parameters,
            spec,
            self._limits,
            random_seed=random_seed(),  # drawn here, because `resolve` is a pure function
            uploads=uploads,
            additions=additions,
            embeddings=usable(await self._embeddings.list()),
        )

    async def work(self, model: str, parameters: GenerationParameters) -> tuple[ModelSpec, float]:
        """Check a request as `checked` does; returns the entry of its model, and the megapixel-steps of all its passes."""
        spec, uploads = await self.checked(model, parameters)
        resolved = await self.resolved(parameters, spec, uploads)
        passes = denoising_passes(resolved.request)
        return spec, sum(each.width * each.height * each.count * each.denoising_steps for each in passes) / 1e6
