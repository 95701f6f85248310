"""The standalone application shortens the turns of threads; a plugin leaves the interpreter of its application alone."""

import sys
from collections.abc import Iterator

import pytest
from litestar import Litestar

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.asgi import create_app
from litestar_diffusion.settings import ModelsSettings, Settings

SETTINGS = Settings(models=ModelsSettings(directory=None, default=None, hub_enabled=False))


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_the_standalone_application_shortens_the_turns_of_threads() -> None:
    create_app(SETTINGS)
    assert sys.getswitchinterval() == pytest.approx(0.0005)


def test_a_plugin_leaves_the_turns_of_threads_alone() -> None:
    before = sys.getswitchinterval()
    Litestar(plugins=[DiffusionPlugin(DiffusionConfig(settings=SETTINGS))])
    assert sys.getswitchinterval() == before
