"""Names of upscalers, as the web UI writes them and as this server does. Pure functions."""

from ...domain.requests.upscaling.upscalers import LANCZOS, LATENT_UPSCALERS, UPSCALER_LABELS

NONE = "None"
"""The web UI's upscaler that does nothing."""
_OURS = {label.casefold(): name for name, label in UPSCALER_LABELS.items()}
_DEFAULT = LATENT_UPSCALERS[0]


def upscaler_of(label: str) -> str:
    """Return the name that this server has for an upscaler; names of files are the same."""
    return _OURS.get(label.casefold(), label)


def hires_upscaler(label: str) -> str:
    """Return the upscaler between two passes; `None` leaves it to the resizing that follows, as in the web UI."""
    if not label:
        return _DEFAULT
    return LANCZOS if label == NONE else upscaler_of(label)


def latent_modes() -> list[str]:
    """List the interpolations of latents, as the web UI calls them."""
    return [UPSCALER_LABELS[name] for name in LATENT_UPSCALERS]
