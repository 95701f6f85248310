"""The engine of a machine with one device, as the server has it."""

from typing import Any

from litestar_diffusion.domain.models.components import LoadedModel
from litestar_diffusion.infra.engine.device_worker import TorchModel
from litestar_diffusion.infra.engine.machine import MachineEngine, TorchMachine
from litestar_diffusion.infra.engine.shared_model import SharedModel


def one_engine(*, device: str = "cpu", **options: Any) -> MachineEngine:
    [engine] = TorchMachine((device,), **options).engines
    return engine


def networks_of(model: LoadedModel) -> Any:
    """The networks of a model that one device has built."""
    assert isinstance(model, SharedModel)
    [built] = model.built.values()
    assert isinstance(built, TorchModel)
    return built.networks
