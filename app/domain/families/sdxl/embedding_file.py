"""Recognises files of textual inversion embeddings for SDXL: vectors for both of its text encoders."""

from ...models.embeddings import MAX_VECTORS, EmbeddingReading
from ..reading import CheckpointFile, NotServable, Shapes
from .detection import NAME

_KEYS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))
"""Names of the two tensors: those of kohya, OneTrainer and later diffusers, and those of the first trainers of diffusers."""
_SINGLE = "emb_params"
_EARLIER = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2"}
_ONE_ENCODER = "SDXL has two text encoders and needs vectors for both (clip_l and clip_g). Look for a version for SDXL."


def read_embedding(file: CheckpointFile) -> EmbeddingReading | None:
    """Recognise an embedding; see `Family.read_embedding`."""
    shapes = file.shapes
    keys = next((keys for keys in _KEYS if any(key in shapes for key in keys)), None)
    if keys is None:
        _refuse_single(shapes)
        return None
    if missing := [key for key in keys if key not in shapes]:
        raise NotServable(f"it has no tensor {missing[0]!r}: {_ONE_ENCODER}")
    if odd := [key for key in keys if key in file.odd]:
        raise NotServable(f"its tensor {odd[0]!r} holds {file.odd[odd[0]]} numbers, which are no vectors.")
    counted = [_size(key, shapes[key]) for key in keys]
    vectors = {count for count, _ in counted}
    if len(vectors) > 1:
        raise NotServable(
            f"its tensors have {counted[0][0]} and {counted[1][0]} vectors; both encoders need equally many."
        )
    if not 1 <= counted[0][0] <= MAX_VECTORS:
        raise NotServable(f"it has {counted[0][0]} vectors, and 1 to {MAX_VECTORS} fit into a chunk of a prompt.")
    return EmbeddingReading(
        family=NAME, vectors=counted[0][0], tensors=keys, widths=tuple(width for _, width in counted)
    )


def _size(key: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of vectors and their width; a tensor of one dimension is one vector."""
    if len(shape) not in (1, 2):
        raise NotServable(f"its tensor {key!r} has {len(shape)} dimensions, and vectors have one or two.")
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])


def _refuse_single(shapes: Shapes) -> None:
    """Raise for an embedding of one text encoder, which is named `emb_params`, or by its token."""
    if _SINGLE not in shapes and len(shapes) != 1:
        return
    shape = shapes[_SINGLE] if _SINGLE in shapes else next(iter(shapes.values()))
    title = _EARLIER.get(shape[-1]) if len(shape) in (1, 2) else None
    if _SINGLE in shapes or title is not None:
        raise NotServable(
            f"it is an embedding for {title or 'another kind of model'}, with one text encoder. {_ONE_ENCODER}"
        )
