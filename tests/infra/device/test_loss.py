"""Whether a device is lost is found out by a call, not by the words of an error."""

from typing import Any

import pytest
import torch

from litestar_diffusion.infra.device.loss import is_lost


def test_a_device_whose_calls_fail_is_lost() -> None:
    assert is_lost(torch.device("meta"))  # tensors there hold no numbers, so that reading one fails


def test_the_cpu_is_never_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "ones", lambda *_, **__: pytest.fail("nothing needs to be tried"))
    assert not is_lost(torch.device("cpu"))


def test_a_full_device_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "ones", full)
    assert not is_lost(torch.device("cuda"))
