"""litestar-diffusion: an SDXL image-generation server, and the Litestar plugin it is made of.

Importing this package imports neither torch nor Litestar; the names below do so when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asgi import create_app
    from .domain.errors import DiffusionError
    from .domain.generator import Generated, ImageGenerator
    from .domain.memory.pool import ModelPool
    from .domain.requests.parameters import GenerationParameters
    from .plugin import DiffusionConfig, DiffusionPlugin
    from .settings import Settings, load_settings
    from .web.middleware.origins import OriginRules

_HOMES = {
    "DiffusionConfig": ".plugin",
    "DiffusionError": ".domain.errors",
    "DiffusionPlugin": ".plugin",
    "Generated": ".domain.generator",
    "GenerationParameters": ".domain.requests.parameters",
    "ImageGenerator": ".domain.generator",
    "ModelPool": ".domain.memory.pool",
    "OriginRules": ".web.middleware.origins",
    "Settings": ".settings",
    "create_app": ".asgi",
    "load_settings": ".settings",
}

__all__ = [
    "DiffusionConfig",
    "DiffusionError",
    "DiffusionPlugin",
    "Generated",
    "GenerationParameters",
    "ImageGenerator",
    "ModelPool",
    "OriginRules",
    "Settings",
    "create_app",
    "load_settings",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
