"""`/sd-models`, and the routes that move a client's model into and out of memory."""

from typing import Any

import msgspec
from litestar import Controller, Request, get, post

from ....domain.errors import UnknownModel
from ....domain.models.catalogue import Catalogue
from ....domain.models.spec import Checkpoint, ModelSpec
from ...auth.requirements import requires
from ...http.clients import client_of
from ...http.errors.documented_errors import FOREIGN
from ...http.route_groups import in_group
from ..dependencies import CataloguePort, Facts, Pool, Remembered
from ..done import Done
from ..errors import BUSY, FAILED, IN_USE, NOT_DOWNLOADED, UNKNOWN_CHECKPOINT, WRONG

_SUFFIXES = (".safetensors", ".ckpt")


class CheckpointView(msgspec.Struct, frozen=True, kw_only=True):
    """One model. The server hashes no files and shows no paths."""

    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None


class CheckpointsController(Controller):
    """The models, and the one that a client uses."""

    path = "/sdapi/v1"
    tags = ("a1111",)
    opt = in_group("dialects") | requires("admin")

    @get(
        "/sd-models",
        opt=requires("generate", "read"),
        summary="List models",
        operation_id="a1111_sd_models",
        response_description="The models.",
    )
    async def sd_models(self, catalogue: CataloguePort) -> list[CheckpointView]:
        """List the usable models, in alphabetical order."""
        return [_view(spec) for spec in await catalogue.list() if spec.unusable is None]

    @post(
        "/refresh-checkpoints",
        status_code=200,
        summary="Scan for models",
        operation_id="a1111_refresh_checkpoints",
        response_description="They were looked for.",
        responses={403: FOREIGN},
    )
    async def refresh_checkpoints(self, catalogue: CataloguePort) -> Done:
        """Look for new files. Every request does so for its own model anyway."""
        await catalogue.refresh()
        return Done()

    @post(
        "/unload-checkpoint",
        status_code=200,
        summary="Unload the client's model",
        operation_id="a1111_unload_checkpoint",
        response_description="It is out of memory.",
        responses={403: FOREIGN, 404: UNKNOWN_CHECKPOINT, 409: IN_USE, 422: WRONG},
    )
    async def unload_checkpoint(
        self,
        request: Request[Any, Any, Any],
        catalogue: CataloguePort,
        dialect_state: Remembered,
        service_facts: Facts,
        model_pool: Pool,
    ) -> Done:
        """Free the memory of the client's model, unless requests use it."""
        stated = dialect_state.of(client_of(request)).options.sd_model_checkpoint
        spec = await checkpoint(catalogue, stated, service_facts.default_model)
        await model_pool.unload(spec.name, wait=False)
        return Done()

    @post(
        "/reload-checkpoint",
        status_code=200,
        summary="Load the client's model",
        operation_id="a1111_reload_checkpoint",
        response_description="It is in memory.",
        responses={
            403: FOREIGN,
            404: UNKNOWN_CHECKPOINT,
            422: WRONG,
            500: FAILED,
            502: NOT_DOWNLOADED,
            503: BUSY,
        },
    )
    async def reload_checkpoint(
        self,
        request: Request[Any, Any, Any],
        catalogue: CataloguePort,
        dialect_state: Remembered,
        service_facts: Facts,
        model_pool: Pool,
    ) -> Done:
        """Bring the client's model into memory, and wait until it is there."""
        stated = dialect_state.of(client_of(request)).options.sd_model_checkpoint
        spec = await checkpoint(catalogue, stated, service_facts.default_model)
        await model_pool.load(spec.name)
        return Done()


async def checkpoint(catalogue: Catalogue, stated: str, default: str | None) -> ModelSpec:
    """Find a model by what clients call it: name, title, file name, or each of them with a hash in brackets.

    Args:
        catalogue: the models that exist.
        stated: by the client; empty for the default one.
        default: of the server; without one it is the first usable model.

    Raises:
        UnknownModel: with the names that exist.
    """
    if stated:
        return await _found(catalogue, stated)
    if default is not None:
        return await catalogue.find(default)
    usable = [spec for spec in await catalogue.list() if spec.unusable is None]
    if not usable:
        raise UnknownModel("sd_model_checkpoint", [])
    return usable[0]


async def _found(catalogue: Catalogue, stated: str) -> ModelSpec:
    try:
        return await catalogue.find(stated)
    except UnknownModel:
        if (name := _bare(stated)) == stated:
            raise
    return await catalogue.find(name)


def _bare(stated: str) -> str:
    """Return the name in `folder/name.safetensors [31e35c80fc]`."""
    name = stated.split(" [", maxsplit=1)[0].replace("\\", "/").rsplit("/", 1)[-1]
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)


def _view(spec: ModelSpec) -> CheckpointView:
    filename = f"{spec.name}.safetensors" if isinstance(spec.source, Checkpoint) else str(spec.name)
    return CheckpointView(title=spec.name, model_name=spec.name, hash=None, sha256=None, filename=filename, config=None)
