"""`/sdapi/v1/loras` and `/sdapi/v1/sd-vae`: adapters and VAEs as the web UI lists them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Controller, get, post

from ....domain.models.adapters import AdapterReading, AdapterSpec
from ...auth.requirements import requires
from ...http.errors.documented_errors import FOREIGN
from ...http.route_groups import in_group
from ..dependencies import CataloguesPort
from ..done import Done


class LoraView(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter. The server hashes no files and shows no paths."""

    name: str
    alias: str
    path: str
    metadata: Mapping[str, Any]


class VaeItem(msgspec.Struct, frozen=True, kw_only=True):
    """One VAE."""

    model_name: str
    filename: str


class LorasController(Controller):
    """Adapters and VAEs."""

    path = "/sdapi/v1"
    tags = ("a1111",)
    opt = in_group("dialects") | requires("generate", "read")

    @get("/loras", summary="List LoRAs", operation_id="a1111_loras", response_description="The adapters.")
    async def loras(self, catalogues: CataloguesPort) -> list[LoraView]:
        """List the usable adapters; `<lora:name:1>` in a prompt uses one."""
        return [_lora_view(spec) for spec in await catalogues.adapters.list() if spec.unusable is None]

    @get("/sd-vae", summary="List VAEs", operation_id="a1111_sd_vae", response_description="The VAEs.")
    async def sd_vae(self, catalogues: CataloguesPort) -> list[VaeItem]:
        """List the usable VAEs; the option `sd_vae` uses one."""
        usable = [spec for spec in await catalogues.vaes.list() if spec.unusable is None]
        return [VaeItem(model_name=spec.name, filename=spec.path.name) for spec in usable]

    @post(
        "/refresh-loras",
        opt=requires("admin"),
        status_code=200,
        summary="Scan for LoRAs",
        operation_id="a1111_refresh_loras",
        response_description="They were looked for.",
        responses={403: FOREIGN},
    )
    async def refresh_loras(self, catalogues: CataloguesPort) -> Done:
        """Look for new files. Every request does so for its own adapters anyway."""
        await catalogues.adapters.refresh()
        return Done()

    @post(
        "/refresh-vae",
        opt=requires("admin"),
        status_code=200,
        summary="Scan for VAEs",
        operation_id="a1111_refresh_vae",
        response_description="They were looked for.",
        responses={403: FOREIGN},
    )
    async def refresh_vae(self, catalogues: CataloguesPort) -> Done:
        """Look for new files. Every request does so for its own VAE anyway."""
        await catalogues.vaes.refresh()
        return Done()


def _lora_view(spec: AdapterSpec) -> LoraView:
    reading = spec.reading
    alias = reading.title if reading is not None and reading.title else spec.name
    return LoraView(name=spec.name, alias=alias, path=spec.path.name, metadata=_metadata(reading))


def _metadata(reading: AdapterReading | None) -> Mapping[str, Any]:
    """Return the entries that clients of the web UI read, under their names."""
    if reading is None:
        return {}
    stated = {
        "ss_output_name": reading.title,
        "ss_network_dim": str(max(reading.ranks)) if reading.ranks else None,
        "ss_network_alpha": f"{reading.alphas[0]:g}" if reading.alphas else None,
        "ss_tag_frequency": {"captions": dict.fromkeys(reading.trigger_words, 1)} if reading.trigger_words else None,
    }
    return {name: value for name, value in stated.items() if value is not None}
