"""litestar-diffusion: an SDXL image-generation server, and the Litestar plugin it is made of.

Importing this package imports neither torch nor Litestar; the names below do so when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asgi import create_app
    from .domain.errors import (
        BodiesFull,
        BodyTooSlow,
        Cancelled,
        ConflictingKeys,
        DiffusionError,
        DownloadFailed,
        EngineFailed,
        EngineStuck,
        ExpiredJob,
        FieldError,
        Forbidden,
        GenerationFailed,
        IdempotencyConflict,
        InsufficientMemory,
        InvalidRequest,
        InvalidSettings,
        LoadFailed,
        ModelInUse,
        NotFinite,
        OutOfMemory,
        QueueFull,
        RateLimited,
        ShuttingDown,
        TooManyRequests,
        TooMuchWork,
        Unauthorized,
        UnknownAdapter,
        UnknownAsset,
        UnknownJob,
        UnknownModel,
        UnknownVae,
        UnusableAdapter,
        UnusableAsset,
        UnusableModel,
        UnusableVae,
        WaitedTooLong,
    )
    from .domain.generator import Generated, ImageGenerator
    from .domain.memory.pool import ModelPool
    from .domain.requests.parameters import GenerationParameters
    from .plugin import DiffusionPlugin
    from .plugin_config import DiffusionConfig
    from .settings import Settings, load_settings
    from .web.http.clients import Client
    from .web.http.problems import HTTP_STATUS, Problem, problem_of
    from .web.http.route_groups import ROUTE_GROUPS
    from .web.middleware.origins import OriginRules

_HOMES = {
    "HTTP_STATUS": ".web.http.problems",
    "ROUTE_GROUPS": ".web.http.route_groups",
    "BodiesFull": ".domain.errors",
    "BodyTooSlow": ".domain.errors",
    "Cancelled": ".domain.errors",
    "Client": ".web.http.clients",
    "ConflictingKeys": ".domain.errors",
    "DiffusionConfig": ".plugin_config",
    "DiffusionError": ".domain.errors",
    "DiffusionPlugin": ".plugin",
    "DownloadFailed": ".domain.errors",
    "EngineFailed": ".domain.errors",
    "EngineStuck": ".domain.errors",
    "ExpiredJob": ".domain.errors",
    "FieldError": ".domain.errors",
    "Forbidden": ".domain.errors",
    "Generated": ".domain.generator",
    "GenerationFailed": ".domain.errors",
    "GenerationParameters": ".domain.requests.parameters",
    "IdempotencyConflict": ".domain.errors",
    "ImageGenerator": ".domain.generator",
    "InsufficientMemory": ".domain.errors",
    "InvalidRequest": ".domain.errors",
    "InvalidSettings": ".domain.errors",
    "LoadFailed": ".domain.errors",
    "ModelInUse": ".domain.errors",
    "ModelPool": ".domain.memory.pool",
    "NotFinite": ".domain.errors",
    "OriginRules": ".web.middleware.origins",
    "OutOfMemory": ".domain.errors",
    "Problem": ".web.http.problems",
    "QueueFull": ".domain.errors",
    "RateLimited": ".domain.errors",
    "Settings": ".settings",
    "ShuttingDown": ".domain.errors",
    "TooManyRequests": ".domain.errors",
    "TooMuchWork": ".domain.errors",
    "Unauthorized": ".domain.errors",
    "UnknownJob": ".domain.errors",
    "UnknownModel": ".domain.errors",
    "UnknownAdapter": ".domain.errors",
    "UnknownAsset": ".domain.errors",
    "UnknownVae": ".domain.errors",
    "UnusableAdapter": ".domain.errors",
    "UnusableAsset": ".domain.errors",
    "UnusableVae": ".domain.errors",
    "UnusableModel": ".domain.errors",
    "WaitedTooLong": ".domain.errors",
    "create_app": ".asgi",
    "load_settings": ".settings",
    "problem_of": ".web.http.problems",
}

__all__ = [
    "HTTP_STATUS",
    "ROUTE_GROUPS",
    "BodiesFull",
    "BodyTooSlow",
    "Cancelled",
    "Client",
    "ConflictingKeys",
    "DiffusionConfig",
    "DiffusionError",
    "DiffusionPlugin",
    "DownloadFailed",
    "EngineFailed",
    "EngineStuck",
    "ExpiredJob",
    "FieldError",
    "Forbidden",
    "Generated",
    "GenerationFailed",
    "GenerationParameters",
    "IdempotencyConflict",
    "ImageGenerator",
    "InsufficientMemory",
    "InvalidRequest",
    "InvalidSettings",
    "LoadFailed",
    "ModelInUse",
    "ModelPool",
    "NotFinite",
    "OriginRules",
    "OutOfMemory",
    "Problem",
    "QueueFull",
    "RateLimited",
    "Settings",
    "ShuttingDown",
    "TooManyRequests",
    "TooMuchWork",
    "Unauthorized",
    "UnknownAdapter",
    "UnknownAsset",
    "UnknownJob",
    "UnknownModel",
    "UnknownVae",
    "UnusableAdapter",
    "UnusableAsset",
    "UnusableModel",
    "UnusableVae",
    "WaitedTooLong",
    "create_app",
    "load_settings",
    "problem_of",
]

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` accepts every name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name], __name__), name)
