"""A device that the machine does not have is an error of the settings, with what to do."""

import pytest
import torch

from litestar_diffusion.domain.errors import EngineFailed
from litestar_diffusion.infra.device.device import choose_device


@pytest.mark.parametrize("name", ["cuda:999", "mps"])
def test_a_device_that_is_not_there_is_named_with_its_setting(name: str) -> None:
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has such a device")
    with pytest.raises(EngineFailed, match=rf"The settings name the device '{name}' .*, but .* Set it to 'auto'"):
        choose_device(name)


def test_auto_is_a_device_that_is_there() -> None:
    assert choose_device("auto").type in {"cuda", "mps", "cpu"}
