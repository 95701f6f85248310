"""Checks of the models, of the device and of the memory for both. They import torch."""

from collections.abc import Iterator, Sequence

from ...domain.errors import DiffusionError
from ...domain.models.spec import ModelSpec
from ...domain.units import format_bytes
from ...settings import Settings
from .findings import Finding, failed, ok, warning


def models(settings: Settings, specs: Sequence[ModelSpec]) -> Iterator[Finding]:
    """Check that the models that the settings name exist and can be used."""
    usable = {name: spec for spec in specs if spec.unusable is None for name in (spec.name, *spec.aliases)}
    why = {str(spec.name): spec.unusable for spec in specs if spec.unusable is not None}
    named = [("models.default", settings.models.default)] if settings.models.default else []
    named += [("models.preload", name) for name in settings.models.preload]
    named += [("models.pinned", name) for name in settings.models.pinned]
    for setting, name in named:
        if name not in usable:
            detail = f"{setting} is {name!r}, " + (
                f"which cannot be used: {why[name]}" if name in why else "and there is no such model."
            )
            yield failed("models", detail, f"Choose one of these: {', '.join(sorted(map(str, usable)))}.")
        elif not usable[name].on_disk:
            yield warning("models", f"{name!r} ({setting}) is not downloaded.", f"litestar-diffusion pull {name}")
    for name, reason in why.items():
        yield warning("models", f"{name} cannot be used: {reason}", "litestar-diffusion inspect FILE says more.")
    yield ok("models", f"{len({spec.name for spec in usable.values()})} can be used.")


def device(settings: Settings, specs: Sequence[ModelSpec]) -> Iterator[Finding]:
    """Check that the devices are there, and that the memory of each holds the default model."""
    from ...infra.device.device import all_devices, choose_device, device_nbytes  # here: torch takes seconds to import
    from ...infra.device.host_memory import host_nbytes

    names, stated = settings.device.used, settings.device.names
    hint = "Set device.name to auto or cpu." if stated == "all" else 'Set device.names to "all", or to what is there.'
    for name in all_devices() if names == ("auto",) else names:
        try:
            chosen = choose_device(name)
        except DiffusionError as error:
            yield failed("device", error.message, hint)
            continue
        yield ok("device", f"{chosen}: {format_bytes(device_nbytes(chosen))}.")
        on_cpu = chosen.type == "cpu"
        setting = "memory.host" if on_cpu else "memory.device"
        budget = settings.memory.host if on_cpu else settings.memory.device
        has = host_nbytes() if on_cpu else device_nbytes(chosen)
        yield from memory(settings, specs, setting, int(budget * has) if budget <= 1 else int(budget))


def memory(settings: Settings, specs: Sequence[ModelSpec], setting: str, budget: int) -> Iterator[Finding]:
    """Check that the default model fits into the budget of a setting, in bytes."""
    default = next((each for each in specs if settings.models.default in (each.name, *each.aliases)), None)
    if default is None or default.unusable is not None or default.nbytes is None:
        return
    told = f"{default.name} is {format_bytes(default.nbytes)}, {setting} allows {format_bytes(budget)}"
    if default.nbytes > budget:
        yield failed("memory", f"{told}.", f"Raise {setting}, or choose a smaller model as models.default.")
    else:
        yield ok("memory", f"{told}, activations included.")
