"""`/sdapi/v1/embeddings`: the textual inversion embeddings as the web UI lists them."""

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ....domain.models.embeddings import EmbeddingCatalogue, EmbeddingSpec
from ...auth.requirements import requires
from ...http.errors.documented_errors import FOREIGN
from ...http.route_groups import in_group
from ..done import Done


class EmbeddingItem(msgspec.Struct, frozen=True, kw_only=True):
    """A textual inversion embedding."""

    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int
    vectors: int


class EmbeddingsView(msgspec.Struct, frozen=True, kw_only=True):
    """Embeddings by name: those that prompts may name, and those that cannot be used."""

    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


class EmbeddingsController(Controller):
    """The embeddings."""

    path = "/sdapi/v1"
    tags = ("a1111",)
    opt = in_group("dialects") | requires("generate", "read")

    @get(
        "/embeddings",
        summary="List textual inversions",
        operation_id="a1111_embeddings",
        response_description="By name.",
    )
    async def embeddings(self, embeddings: NamedDependency[SkipValidation[EmbeddingCatalogue]]) -> EmbeddingsView:
        """List the embeddings; `GET /embeddings` says why some cannot be used."""
        specs = await embeddings.list()
        return EmbeddingsView(
            loaded={spec.name: _item(spec) for spec in specs if spec.unusable is None},
            skipped={spec.name: _item(spec) for spec in specs if spec.unusable is not None},
        )

    @post(
        "/refresh-embeddings",
        opt=requires("admin"),
        status_code=200,
        summary="Look for textual inversions",
        response_description="They have been looked at.",
        operation_id="a1111_refresh_embeddings",
        responses={403: FOREIGN},
    )
    async def refresh(self, embeddings: NamedDependency[SkipValidation[EmbeddingCatalogue]]) -> Done:
        """Look at the files now; every request does, too."""
        await embeddings.list()
        return Done()


def _item(spec: EmbeddingSpec) -> EmbeddingItem:
    """Describe an embedding; `shape` is the width for the last text encoder, as the web UI has it for SDXL."""
    reading = spec.reading
    return EmbeddingItem(
        shape=reading.widths[-1] if reading is not None else 0, vectors=reading.vectors if reading is not None else 0
    )
