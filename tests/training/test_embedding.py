"""The embedding's training writes a small file that the server reads."""

from pathlib import Path

from litestar_diffusion.infra.catalogue.additions.embeddings import describe_embedding
from training.embedding import train_embedding
from training.stages import MODELS


def test_a_step_writes_a_file_that_is_read(tmp_path: Path) -> None:
    out = tmp_path / "embeddings" / "turquoise.safetensors"
    train_embedding(MODELS / "demo.safetensors", MODELS / "demo.config", 1, out)
    spec = describe_embedding(out)
    assert spec.unusable is None
    assert spec.nbytes < 50_000
    assert spec.reading is not None
    assert (spec.reading.vectors, spec.reading.widths) == (1, (64, 96))
