"""The application on a device that never ends a step, so that all requests wait; without torch.

`uvicorn tests.load.waiting_app:create_app --factory`
"""

from litestar import Litestar

from litestar_diffusion.asgi import create_app as create_usual_app
from litestar_diffusion.bootstrap import Services
from litestar_diffusion.plugin import DiffusionPlugin
from litestar_diffusion.settings import Settings
from litestar_diffusion.testing import FakeEngine, fake_services


def create_app() -> Litestar:
    """Build it; a factory for uvicorn."""
    app = create_usual_app()
    engine = FakeEngine()
    engine.gate.clear()

    def waiting(settings: Settings) -> Services:
        return fake_services(settings=settings, engine=engine)

    app.plugins.get(DiffusionPlugin).config.build = waiting
    return app
