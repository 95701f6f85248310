"""In what a model is kept and computed: by what is asked for, the device, the file and its size."""

import pytest
import torch

from litestar_diffusion.domain.models.spec import DtypeName
from litestar_diffusion.infra.device import precision
from litestar_diffusion.infra.device.precision import FileWeights, Precision, computed_in, precision_of

CPU = torch.device("cpu")
F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32


def weights(dtype: str = "F16", numbers: int = 3 * 10**9) -> FileWeights:
    return FileWeights(numbers=numbers, vectors=1000, dtype=dtype)


@pytest.fixture(params=[True, False], ids=["fast in bfloat16", "slow in bfloat16"])
def fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(precision, "_bf16_pays", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("name", "on_fast", "on_slow"),
    [
        ("auto", Precision(BF16, BF16), Precision(F16, F32)),
        ("bfloat16", Precision(BF16, BF16), Precision(BF16, F32)),
        ("float16", Precision(F16, F32), Precision(F16, F32)),
        ("float32", Precision(F32, F32), Precision(F32, F32)),
    ],
)
def test_a_cpu_computes_in_what_it_is_fast_in(
    name: DtypeName, on_fast: Precision, on_slow: Precision, fast: bool
) -> None:
    assert precision_of(name, CPU, weights()) == (on_fast if fast else on_slow)
    assert computed_in(name, CPU) == (on_fast if fast else on_slow).computed, "known before the file is on disk"


@pytest.mark.parametrize(
    ("dtype", "kept"), [("F16", F16), ("BF16", BF16), ("F32", F32), ("F64", F32), ("F8_E4M3", F16), ("F8_E5M2", F16)]
)
def test_a_large_model_keeps_the_numbers_of_its_file(
    dtype: str, kept: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_bf16_pays", lambda: False)
    assert precision_of("auto", CPU, weights(dtype)) == Precision(kept, F32)


def test_a_small_model_is_kept_as_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_bf16_pays", lambda: False)
    assert precision_of("auto", CPU, weights(numbers=10**7)) == Precision(F32, F32)


def test_a_cpu_that_only_says_that_it_has_bfloat16_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX512-BF16 without AMX: half the speed of float32 on the CPU on which this was found."""
    for says, measures, pays in [
        ({"avx512_bf16": True}, {BF16: 2.0, F32: 1.0}, False),
        ({"avx512_bf16": True}, {BF16: 1.0, F32: 2.0}, True),
        ({"avx512_bf16": True, "amx_bf16": True}, {}, True),
        ({}, {}, False),
    ]:
        precision._bf16_pays.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda says=says: says)
        monkeypatch.setattr(precision, "_product_s", measures.__getitem__)
        assert precision._bf16_pays() is pays
    precision._bf16_pays.cache_clear()


def test_bytes_are_those_of_what_is_kept() -> None:
    assert Precision(F16, F32).nbytes(FileWeights(numbers=1010, vectors=10, dtype="F16")) == 1000 * 2 + 10 * 4
