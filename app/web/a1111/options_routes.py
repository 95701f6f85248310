"""`/sdapi/v1/options`: the options of the client that asks, not of the process."""

from typing import Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.params import JSONBody

from ...domain.errors import UnknownModel
from ...domain.requests.additions import OWN_VAE
from ..auth.requirements import requires
from ..http.bodies.body import LenientBodyDTO, sent_fields
from ..http.clients import client_of
from ..http.errors.documented_errors import FOREIGN
from ..http.route_groups import in_group
from .dependencies import CataloguePort, CataloguesPort, Facts, Remembered
from .done import Done
from .errors import TOO_LARGE, UNKNOWN_CHECKPOINT, WRONG
from .lists.checkpoints import checkpoint
from .openapi import A1111Operation
from .options import Options


class OptionsController(Controller):
    """The options of a client."""

    path = "/sdapi/v1/options"
    tags = ("a1111",)
    opt = in_group("dialects") | requires("generate")

    @get(
        "/",
        opt=requires("generate", "read"),
        summary="Show the client's options",
        operation_id="a1111_options",
        response_description="The options.",
        responses={404: UNKNOWN_CHECKPOINT},
    )
    async def show_options(
        self, request: Request[Any, Any, Any], catalogue: CataloguePort, dialect_state: Remembered, service_facts: Facts
    ) -> Options:
        """Show those of the web UI's options that act here, with the model that the next request would use."""
        options = dialect_state.of(client_of(request)).options
        try:
            spec = await checkpoint(catalogue, options.sd_model_checkpoint, service_facts.default_model)
        except UnknownModel:  # its file is gone; clients take an error here for a server that is not there
            spec = await checkpoint(catalogue, "", service_facts.default_model)
        return msgspec.structs.replace(options, sd_model_checkpoint=spec.name)

    @post(
        "/",
        status_code=200,
        dto=LenientBodyDTO[Options],
        return_dto=None,
        summary="Change the client's options",
        operation_id="a1111_set_options",
        response_description="They are changed.",
        operation_class=A1111Operation,
        responses={403: FOREIGN, 404: UNKNOWN_CHECKPOINT, 413: TOO_LARGE, 422: WRONG},
    )
    async def set_options(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[Options],
        catalogues: CataloguesPort,
        dialect_state: Remembered,
        service_facts: Facts,
    ) -> Done:
        """Change options of this client for its later requests; unknown ones are ignored. No model is loaded by this.

        They are kept by API key or address, for the last thousand clients, until the server ends.
        """
        session = dialect_state.of(client_of(request))
        sent = {name: getattr(data, name) for name in sent_fields(request)}
        options = msgspec.structs.replace(session.options, **sent)
        if data.sd_model_checkpoint:  # remembered by its short name, as no text of a client should be
            spec = await checkpoint(catalogues.models, data.sd_model_checkpoint, service_facts.default_model)
            options = msgspec.structs.replace(options, sd_model_checkpoint=spec.name)
        if options.vae not in (None, OWN_VAE):
            options = msgspec.structs.replace(options, sd_vae=(await catalogues.vaes.find(options.sd_vae)).name)
        session.options = options
        return Done()
