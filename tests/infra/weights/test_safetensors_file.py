"""Tensors of an open file: views of them know where their bytes lie, after any conversion of their shapes."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from litestar_diffusion.infra.weights.safetensors_file import SafetensorsFile, find_stored

TENSORS = {
    "matrix": torch.arange(30, dtype=torch.float32).view(5, 6),
    "kernel": torch.arange(24, dtype=torch.float16).view(4, 3, 2, 1),
    "scalar": torch.tensor(7, dtype=torch.int64),
}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SafetensorsFile]:
    save_file(TENSORS, tmp_path / "some.safetensors")
    with closing(SafetensorsFile(tmp_path / "some.safetensors")) as opened:
        yield opened


def read(file: SafetensorsFile, view: Tensor) -> Tensor:
    return find_stored([file], view).read()


def test_tensors_are_read_as_they_were_saved(file: SafetensorsFile) -> None:
    for name, tensor in TENSORS.items():
        assert torch.equal(read(file, file.tensors()[name]), tensor)


def test_views_are_read_from_their_place(file: SafetensorsFile) -> None:
    matrix, kernel = file.tensors()["matrix"], file.tensors()["kernel"]
    assert torch.equal(read(file, matrix.T), TENSORS["matrix"].T)
    assert torch.equal(read(file, matrix[2:4]), TENSORS["matrix"][2:4])
    assert torch.equal(read(file, matrix[4:, :].detach()), TENSORS["matrix"][4:, :])
    assert torch.equal(read(file, matrix[:, 1::2]), TENSORS["matrix"][:, 1::2])
    assert torch.equal(read(file, kernel[:, :, 1, 0]), TENSORS["kernel"][:, :, 1, 0])
    assert torch.equal(read(file, matrix[5:]), TENSORS["matrix"][5:])


def test_computed_tensors_are_refused(file: SafetensorsFile) -> None:
    """They would be zeros, or other contents of the memory."""
    with pytest.raises(ValueError, match="computed"):
        read(file, file.tensors()["matrix"] + 1)
    with pytest.raises(RuntimeError, match="meta"):
        file.tensors()["scalar"].item()


def test_tensors_that_no_element_size_divides_the_position_of_are_read(tmp_path: Path) -> None:
    """Writers need not pad the header, nor sort tensors by their dtype."""
    entries = {
        "odd": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "shifted": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
    }
    header = json.dumps(entries).encode()
    header += b" " * ((4 - len(header)) % 4)
    numbers = torch.tensor([1.5, -2.0])
    data = bytes([1, 2, 3]) + numbers.numpy().tobytes()
    (tmp_path / "odd.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    with closing(SafetensorsFile(tmp_path / "odd.safetensors")) as file:
        assert find_stored([file], file.tensors()["shifted"]).offset % 4 == 3
        assert torch.equal(read(file, file.tensors()["shifted"]), numbers)


def test_tensors_of_dtypes_that_torch_does_not_have_are_left_out(tmp_path: Path) -> None:
    header = json.dumps({"one": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    (tmp_path / "odd.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with closing(SafetensorsFile(tmp_path / "odd.safetensors")) as file:
        assert file.tensors() == {}


def test_the_file_of_a_tensor_is_found_among_several(tmp_path: Path) -> None:
    for number in range(3):
        save_file({"one": torch.tensor([number])}, tmp_path / f"{number}.safetensors")
    files = [SafetensorsFile(tmp_path / f"{number}.safetensors") for number in range(3)]
    assert [int(find_stored(files, file.tensors()["one"]).read()) for file in files] == [0, 1, 2]
    for file in files:
        file.close()


def test_a_file_that_is_replaced_while_it_is_open_is_read_as_it_was(file: SafetensorsFile, tmp_path: Path) -> None:
    """Downloads write to another name first."""
    save_file({"matrix": torch.zeros(5, 6)}, tmp_path / "new")
    (tmp_path / "new").replace(tmp_path / "some.safetensors")
    assert torch.equal(read(file, file.tensors()["matrix"]), TENSORS["matrix"])
