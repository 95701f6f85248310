"""`/embeddings`: lists the textual inversion embeddings that prompts may name."""

from typing import Annotated

import msgspec
from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Meta

from ...domain.models.embeddings import EmbeddingCatalogue, EmbeddingSpec
from ..auth.requirements import requires
from ..http.route_groups import in_group


class EmbeddingView(msgspec.Struct, frozen=True, kw_only=True):
    """A textual inversion embedding."""

    name: Annotated[str, Meta(description="The word in a prompt that stands for it; `embedding:<name>` does, too.")]
    family: Annotated[str, Meta(description="Family of the models that it is for.")] | None
    vectors: Annotated[int, Meta(description="Tokens that it takes in a prompt.")] | None
    widths: Annotated[list[int], Meta(description="Of the text encoders that it is for.")]
    sha256: Annotated[str, Meta(description="Of its file, as receipts name it.")] | None
    nbytes: int
    builtin: Annotated[bool, Meta(description="Whether it ships with the server.")]
    unusable: Annotated[str, Meta(description="Reason for which it cannot be used; null for a usable one.")] | None


class EmbeddingsController(Controller):
    """The embeddings."""

    path = "/embeddings"
    tags = ("models",)
    opt = in_group("models") | requires("generate", "read")

    @get("/", summary="List embeddings", response_description="In alphabetical order.")
    async def list_embeddings(
        self, embeddings: NamedDependency[SkipValidation[EmbeddingCatalogue]]
    ) -> list[EmbeddingView]:
        """List the textual inversion embeddings in `embeddings/` of the models folders, after a look at their files.

        Those that cannot be used have the reason.
        """
        return [embedding_view(spec) for spec in await embeddings.list()]


def embedding_view(spec: EmbeddingSpec) -> EmbeddingView:
    """Format an embedding for the wire."""
    reading = spec.reading
    return EmbeddingView(
        name=spec.name,
        family=None if reading is None else reading.family,
        vectors=None if reading is None else reading.vectors,
        widths=[] if reading is None else list(reading.widths),
        sha256=spec.sha256 or None,
        nbytes=spec.nbytes,
        builtin=spec.builtin,
        unusable=spec.unusable,
    )
