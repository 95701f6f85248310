"""What a person at a terminal reads about each event."""

from collections.abc import Callable, Mapping
from typing import Any

from ....domain.models.assets import KIND_TITLES, AssetKind
from ....domain.units import format_bytes

Facts = Mapping[str, Any]
_NOTICED_S = 0.05
"""Seconds from which waiting and loading are worth a word."""


def phrase(facts: Facts) -> str:
    """Return a short text about an event; its name and all facts if there is no phrase for it, or a fact is missing."""
    made = _PHRASES.get(str(facts.get("event")))
    if made is None:
        return _plain(facts)
    try:
        return made(facts)
    except KeyError:
        return _plain(facts)


def _plain(facts: Facts) -> str:
    told = " ".join(f"{name}={value}" for name, value in facts.items() if name != "event")
    return f"{facts.get('event', '')}  {told}".rstrip()


def _request(facts: Facts) -> str:
    """Say what a request made, or why it made nothing."""
    code, size, job = facts.get("code"), facts.get("size"), facts.get("job")
    if code is not None:
        return str(code)
    if size is None:
        return f"job {job}" if job is not None else ""
    model = str(facts["model"])
    named = () if str(facts.get("path", "")).endswith(f"/{model}") else (model,)
    added = [f"with {', '.join(facts['adapters'])}"] if facts.get("adapters") else []
    parts = (
        *named,
        *added,
        str(size),
        _count(facts["steps"], "step"),
        *_images(facts),
        *_delays(facts),
        *_notes(facts),
    )
    return ", ".join(parts)


def _images(facts: Facts) -> tuple[str, ...]:
    return (f"{facts['n']} images",) if facts["n"] > 1 else (f"seed {facts['seed']}",)


def _delays(facts: Facts) -> list[str]:
    words = {"start_ms": "started", "queue_ms": "waited", "load_ms": "loaded"}
    delays = {word: float(facts.get(name, 0)) / 1000 for name, word in words.items()}
    return [f"{word} {seconds:.2f} s" for word, seconds in delays.items() if seconds >= _NOTICED_S]


def _notes(facts: Facts) -> list[str]:
    notes = [f"less memory: {', '.join(facts['memory_savings'])}"] if facts.get("memory_savings") else []
    if facts.get("warnings"):
        notes.append(_count(facts["warnings"], "warning"))
    if facts.get("prompt"):
        notes.append(repr(facts["prompt"]))
    return notes


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _seconds(facts: Facts) -> str:
    return f"{float(facts['ms']) / 1000:.2f} s"


def _progress(facts: Facts) -> str:
    verb = {"download": "Downloading", "read": "Loading"}.get(facts["phase"], "Moving to the device")
    done, total = format_bytes(facts["nbytes"]), format_bytes(facts["total"])
    return f"{verb} {_asset(facts)}: {facts['percent']} %, {done} of {total}, {facts['mb_per_s']:.1f} MB/s"


def _usable(facts: Facts) -> str:
    later = (
        f"; downloaded at the first request: {', '.join(facts['not_downloaded'])}" if facts["not_downloaded"] else ""
    )
    here = [name for name in facts["usable"] if name not in facts["not_downloaded"]]
    return f"Models: {', '.join(here) or 'none'}{later}"


def _job_ended(facts: Facts) -> str:
    code = f" ({facts['code']})" if "code" in facts else ""
    return f"Job {facts['job']} {facts['state']}{code}: {facts['model']}, {_count(facts['steps'], 'step')}, {facts['s']:.2f} s"


def _asset(facts: Facts) -> str:
    """Return the name of the asset that an event is about."""
    return str(next(facts[kind] for kind in KIND_TITLES if kind in facts))


def _of_assets(kind: AssetKind) -> dict[str, Callable[[Facts], str]]:
    """Make the phrases of the pool's and the catalogue's events about one kind of asset."""
    return {
        f"{kind}_loaded": lambda f: f"Loaded {f[kind]}: {format_bytes(f['nbytes'])} in {_seconds(f)}",
        f"{kind}_placed": lambda f: f"Moved {f[kind]} to the device: {format_bytes(f['nbytes'])} in {_seconds(f)}",
        f"{kind}_offloaded": lambda f: f"Took {f[kind]} off the device: {format_bytes(f['nbytes'])}; {f['reason']}",
        f"{kind}_unloaded": lambda f: f"Unloaded {f[kind]}: {format_bytes(f['nbytes'])}; {f['reason']}",
        f"{kind}_load_failed": lambda f: f"{f[kind]} was not loaded: {f['reason']}",
        f"{kind}_unusable": lambda f: f"{f[kind]} cannot be used: {f['reason']}",
        f"{kind}_hidden": lambda f: f"{f['hidden']} is hidden by {f['by']}, which has the same name {f[kind]!r}",
    }


_PHRASES: Mapping[str, Callable[[Facts], str]] = {
    "request": _request,
    "job_ended": _job_ended,
    "models": _usable,
    "adapters": lambda f: f"Adapters: {', '.join(f['usable']) or 'none that can be used'}",
    "vaes": lambda f: f"VAEs: {', '.join(f['usable']) or 'none that can be used'}",
    "engine_started": lambda f: (
        f"Engine started in {f['seconds']:.1f} s: {f['device']}, {f['computed_in']}, {_count(f['threads'], 'thread')}"
    ),
    "ready": lambda f: (
        f"Ready on {f['device']}; "
        + (f"{f['default_model']} is loaded" if f["default_model"] else "no model is loaded")
    ),
    **_of_assets("model"),
    **_of_assets("adapter"),
    **_of_assets("vae"),
    "load_progress": _progress,
    "default_model_failed": lambda f: f"The default model is not loaded: {f['reason']}",
    "preload_failed": lambda f: f"{f['model']} was not loaded: {f['reason']}",
    "unknown_variable": lambda f: f"The environment variable {f['name']} has no effect. {f['hint']}",
    "unknown_local_model": lambda f: f'[models.local."{f["name"]}"] has no effect: no such model. {f["hint"]}',
    "models_directory_missing": lambda f: f"The models folder {f['directory']} does not exist. {f['hint']}",
    "download_started": lambda f: f"Download of {f['repo']} began: {format_bytes(f['nbytes'])}",
    "download_done": lambda f: f"Download of {f['repo']} ended: {format_bytes(f['nbytes'])} in {f['seconds']:.1f} s",
}
