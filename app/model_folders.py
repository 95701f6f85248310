"""The folders of models: the user's, and the one of the demo models."""

from pathlib import Path

from .settings import ModelsSettings

_PACKAGE = Path(__file__).parent


def builtin_models() -> Path:
    """Return the folder of the demo models: inside an installed wheel, or `models/` of a checkout."""
    installed = _PACKAGE / "builtin"
    return installed if installed.is_dir() else _PACKAGE.parent / "models"


def model_folders(models: ModelsSettings) -> list[Path]:
    """Return the user's folder first, so that its files win over built-in ones of the same name."""
    directories = [Path(models.directory)] if models.directory is not None else []
    builtin = builtin_models()
    if models.builtin and not any(d.resolve() == builtin.resolve() for d in directories):
        directories.append(builtin)
    return directories
