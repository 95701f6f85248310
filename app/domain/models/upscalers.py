"""Names of upscalers in the pool, beside those of models, which hold no colon."""

from .spec import ModelName

_PREFIX = "upscaler:"


def pooled_name(upscaler: str) -> ModelName:
    """Return the name that an upscaler has in the pool, the logs and the metrics."""
    return ModelName(f"{_PREFIX}{upscaler}")


def own_name(pooled: str) -> ModelName | None:
    """Return an upscaler's own name from its name in the pool; None for a model."""
    return ModelName(pooled.removeprefix(_PREFIX)) if pooled.startswith(_PREFIX) else None
