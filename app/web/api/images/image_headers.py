"""The facts about an image as headers of its file; text is percent-encoded, because headers hold Latin-1 only."""

from collections.abc import Sequence
from urllib.parse import quote

from ....domain.generator import Generated
from ....domain.models.spec import HEAT
from ....domain.upscaling import Upscaled
from ...http.timings import server_timing
from ..views import generate_view


def image_headers(generated: Generated) -> dict[str, str]:
    """Return the facts of the JSON answer as headers."""
    view = generate_view(generated)
    parameters = view.parameters
    warnings = {"x-warnings": _header_text(view.warnings)} if view.warnings else {}
    savings = {"x-memory-savings": ",".join(view.memory_savings)} if view.memory_savings else {}
    uses = generated.request.assets.adapters
    adapters = {"x-adapters": _header_text([f"{use.name}:{use.weight:g}" for use in uses])} if uses else {}
    return {
        **warnings,
        **savings,
        **adapters,
        "x-model": view.model,
        "x-seed": str(view.images[0].seed),
        "x-residency": view.residency,
        "x-sampler": parameters.sampler,
        "x-steps": str(parameters.num_inference_steps),
        "x-guidance-scale": f"{parameters.guidance_scale:g}",
        "x-width": str(parameters.width),
        "x-height": str(parameters.height),
        "server-timing": server_timing(generated.timings),
    }


def upscaled_headers(upscaled: Upscaled) -> dict[str, str]:
    """Return the facts of the JSON answer as headers."""
    lines = _header_text(upscaled.warnings)
    return {
        **({"x-warnings": lines} if lines else {}),
        **({"x-memory-savings": ",".join(upscaled.savings)} if upscaled.savings else {}),
        **({"x-residency": HEAT[upscaled.found]} if upscaled.found is not None else {}),
        "x-upscaler": quote(upscaled.parameters.upscaler),
        "x-width": str(upscaled.image.width),
        "x-height": str(upscaled.image.height),
        "server-timing": server_timing(upscaled.timings),
    }


def _header_text(lines: Sequence[str]) -> str:
    return quote(" | ".join(lines), safe=" |,.;:'!?()/=+-_")
