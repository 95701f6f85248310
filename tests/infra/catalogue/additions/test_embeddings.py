"""The list of embeddings tells what each file is, or why it cannot be used."""

import asyncio
import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from litestar_diffusion.domain.errors import UnusableModel
from litestar_diffusion.domain.models.embeddings import MAX_NBYTES, EmbeddingSpec
from litestar_diffusion.infra.catalogue.additions.embeddings import LocalEmbeddings
from litestar_diffusion.infra.catalogue.reports.inspection_report import explain


def write(path: Path, **shapes: tuple[int, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path)
    return path


def listed(*directories: Path) -> dict[str, EmbeddingSpec]:
    return {spec.name: spec for spec in asyncio.run(LocalEmbeddings(directories).list())}


def test_files_of_both_key_formats_are_found_at_any_depth(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    kohya = write(folder / "deep" / "er" / "My Style v1.0.safetensors", clip_l=(8, 768), clip_g=(8, 1280))
    write(folder / "first.safetensors", text_encoders_0=(2, 768), text_encoders_1=(2, 1280))
    write(folder / "single.safetensors", clip_l=(768,), clip_g=(1280,))
    found = listed(tmp_path)
    assert list(found) == ["first", "My Style v1.0", "single"]
    reading = found["My Style v1.0"].reading
    assert reading is not None
    assert (reading.family, reading.vectors, reading.widths) == ("sdxl", 8, (768, 1280))
    assert found["My Style v1.0"].sha256 == hashlib.sha256(kohya.read_bytes()).hexdigest()
    assert [spec.reading and spec.reading.vectors for spec in found.values()] == [2, 8, 1]


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ({"emb_params": (4, 768)}, "an embedding for Stable Diffusion 1, with one text encoder"),
        ({"emb_params": (4, 1024)}, "an embedding for Stable Diffusion 2, with one text encoder"),
        ({"<cat-toy>": (768,)}, "an embedding for Stable Diffusion 1"),
        ({"clip_l": (4, 768)}, "it has no tensor 'clip_g'"),
        ({"clip_l": (4, 768), "clip_g": (3, 1280)}, "4 and 3 vectors"),
        ({"clip_l": (76, 768), "clip_g": (76, 1280)}, "it has 76 vectors, and 1 to 75 fit"),
        ({"clip_l": (1, 1, 768), "clip_g": (1, 1280)}, "3 dimensions"),
        ({"a.weight": (2, 2), "b.weight": (2, 2)}, "no textual inversion embedding for SDXL"),
    ],
)
def test_others_are_refused_with_the_reason(tmp_path: Path, shapes: dict[str, tuple[int, ...]], reason: str) -> None:
    path = write(tmp_path / "embeddings" / "x.safetensors", **shapes)
    unusable = listed(tmp_path)["x"].unusable
    assert unusable is not None
    assert reason in unusable
    with pytest.raises(UnusableModel, match=r"one text|tensor|vectors|dimensions|no textual"):
        explain(path)


def test_pickles_large_and_broken_files_are_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    folder.mkdir()
    (folder / "pickle.pt").write_bytes(b"\x80\x02x")
    (folder / "large.safetensors").write_bytes(bytes(MAX_NBYTES + 1))
    (folder / "broken.safetensors").write_bytes(b"12345678{nothing")
    reasons = {name: spec.unusable or "" for name, spec in listed(tmp_path).items()}
    assert "pickle" in reasons["pickle"]
    assert "at most 4" in reasons["large"]
    assert "truncated" in reasons["broken"]


def test_a_changed_file_is_read_again_and_the_first_folder_wins_a_name(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    write(theirs / "embeddings" / "style.safetensors", clip_l=(1, 768), clip_g=(1, 1280))
    embeddings = LocalEmbeddings([mine, theirs], builtin=theirs)
    (before,) = asyncio.run(embeddings.list())
    assert before.builtin
    write(mine / "Embeddings" / "Style.safetensors", clip_l=(3, 768), clip_g=(3, 1280))
    (after,) = asyncio.run(embeddings.list())
    assert not after.builtin
    assert after.sha256 != before.sha256


def test_inspect_tells_what_an_embedding_is(tmp_path: Path) -> None:
    told = explain(write(tmp_path / "embeddings" / "x.safetensors", clip_l=(2, 768), clip_g=(2, 1280)))
    assert "the textual inversion embedding 'x'" in told
    assert "2 vectors of 1280 numbers" in told
