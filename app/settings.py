"""The settings: one file, overridden by the environment; this module alone reads either."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from .domain.errors import FieldError, InvalidSettings
from .domain.models.spec import DtypeName, HubModel, ModelOverrides
from .domain.requests.parameters import Limits
from .domain.validation import convert_all

ENV_PREFIX = "LITESTAR_DIFFUSION__"
DEFAULT_FILE = Path("settings.toml")

Fraction = Annotated[float, Meta(gt=0, le=1)]
Nbytes = Annotated[int, Meta(gt=1)]
Origin = Annotated[str, Meta(pattern=r"^(\*|null|[a-z][a-z0-9+.-]*://[^/\s*]+)$")]
"""As browsers write it: `https://app.example.org`, no path and no final slash."""
HostName = Annotated[str, Meta(pattern=r"^(\*|(\*\.)?[^*:/\s]+)$")]
"""`images.example.org`, or `*.example.org` for every name below."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the standalone application listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """0 takes a free port and logs it."""
    shutdown_grace_s: Annotated[float, Meta(ge=0)] = 10.0
    """How long a running image may go on after Ctrl+C; waiting requests end at once."""
    allowed_origins: tuple[Origin, ...] = ()
    """Web pages of these origins may use the server too; `*` allows all."""
    allowed_hosts: tuple[HostName, ...] = ()
    """Further names under which the server is reached; `*` allows all."""


class ModelsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which models exist."""

    directory: str | None = "models"
    """Folder of local checkpoints; relative to the settings file. `""` turns local models off."""
    default: str | None = "demo"
    """Loaded at start, and named in the log if it is not usable. `""` loads nothing."""
    builtin: bool = True
    """Whether the demo models that ship with the package are listed."""
    preload: tuple[str, ...] = ()
    """Models that are loaded at start besides the default one, in this order."""
    pinned: tuple[str, ...] = ()
    """Models that are never evicted once they are in memory."""
    dtype: DtypeName = "auto"
    """`auto`: bfloat16 where the device has it natively, float16 on other GPUs, float32 on other CPUs."""
    hub_enabled: bool = True
    """Whether `[[models.hub]]` entries are listed."""
    hub: tuple[HubModel, ...] = ()
    local: dict[str, ModelOverrides] = {}


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How repositories are downloaded. The token comes from the environment: HF_TOKEN."""

    cache: str | None = None
    """Default: huggingface_hub's own, usually ~/.cache/huggingface/hub."""
    offline: bool = False
    """Use what is in the cache and never ask the Hub."""


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where models run."""

    name: Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    threads: Annotated[int, Meta(ge=0)] = 0
    """CPU threads of torch; 0: as many as there are cores for large work, one for small."""


class MemorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much memory the pool may use: bytes, or a fraction (up to 1.0) of what the machine has."""

    device: Fraction | Nbytes = 0.9
    host: Fraction | Nbytes = 0.8
    device_reserve: Annotated[int, Meta(ge=0)] = 0
    """Bytes of the device that are left to other programs, beside what the fraction leaves."""
    idle_timeout_s: Annotated[float, Meta(ge=0)] = 0.0
    """Models that have not been used for this many seconds leave memory; 0 keeps them."""
    prompt_cache: Annotated[int, Meta(ge=0)] = 64 * 1024**2
    """Bytes of host memory in which each model keeps the prompts that it has encoded; 0 keeps none."""
    lease_warning_s: Annotated[float, Meta(gt=0)] = 900.0
    """A lease that is out for so long is reported in the log as forgotten."""


class LimitsSettings(Limits, frozen=True, kw_only=True):
    """What one request may ask for, how its prompts are read, and how many may wait."""

    max_waiting: Annotated[int, Meta(ge=0)] = 64
    """Requests that may wait before the next one gets 503 with Retry-After."""
    max_waiting_per_client: Annotated[int, Meta(ge=0)] = 0
    """The same for each client, which gets 429; 0: no limit of its own."""
    max_wait_s: Annotated[float, Meta(ge=0)] = 0.0
    """Requests that have not begun to run by then get 503; 0: they may wait for ever."""
    max_body_bytes: Annotated[int, Meta(ge=1024)] = 1_000_000


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs when, and together with whom."""

    max_rows: Annotated[int, Meta(ge=1, le=256)] = 16
    """Rows of the denoiser's batch at most; an image takes two with guidance, one without."""
    max_passes: Annotated[int, Meta(ge=0)] = 8
    """So many later requests may be served before one whose model is not on the device."""
    patience_s: Annotated[float, Meta(ge=0)] = 30.0
    """After this many seconds no later request is served before a waiting one."""
    stuck_after_s: Annotated[float, Meta(gt=0)] = 600.0
    """A device that has not finished a step for so long is taken for stuck: readiness turns false, requests get 503."""


class JobsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long finished jobs can be asked for, and how their events are sent."""

    keep_s: Annotated[float, Meta(ge=0)] = 600.0
    """Seconds after its end."""
    max_finished: Annotated[int, Meta(ge=0)] = 100
    """The oldest go first."""
    max_result_bytes: Annotated[int, Meta(ge=0)] = 536_870_912
    """Of the images of all finished jobs together."""
    keep_alive_s: Annotated[float, Meta(gt=0)] = 15.0
    """After so long without an event a comment is sent, so that proxies keep the connection."""


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is logged, and how."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto`: colours on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    prompts: bool = False
    """Whether prompts are logged."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured; each table of settings.toml is a field."""

    server: ServerSettings = ServerSettings()
    models: ModelsSettings = ModelsSettings()
    hub: HubSettings = HubSettings()
    device: DeviceSettings = DeviceSettings()
    memory: MemorySettings = MemorySettings()
    limits: LimitsSettings = LimitsSettings()
    dispatch: DispatchSettings = DispatchSettings()
    jobs: JobsSettings = JobsSettings()
    log: LogSettings = LogSettings()


def load_settings(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read a settings file and lay the environment's overrides over it.

    Args:
        file: the file to read; by default `settings.toml` in the working directory, if there is one.
        environment: by default the process's own. `LITESTAR_DIFFUSION__SERVER__PORT=9000` sets `server.port`.

    Raises:
        InvalidSettings: naming every wrong key, its value and what is allowed.
    """
    environment = os.environ if environment is None else environment
    file = file or _file_named_in(environment) or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    raw = _read(file) if file is not None else {}
    origin = str(file) if file is not None else "the environment"
    from_file, errors = convert_all(raw, Settings)
    if errors:
        raise InvalidSettings(origin, errors)
    overrides = _overrides(environment)
    if overrides:
        from_both, errors = convert_all(_merged(raw, overrides), Settings, strict=False)
        if errors:
            raise InvalidSettings("the environment (LITESTAR_DIFFUSION__…)", errors)
        from_file = from_both
    assert from_file is not None
    return _anchored(from_file, file.parent if file is not None else Path())


def _file_named_in(environment: Mapping[str, str]) -> Path | None:
    named = environment.get("LITESTAR_DIFFUSION_SETTINGS")
    return Path(named) if named else None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(
            str(file), [FieldError(field="file", message=f"cannot be read: {error.strerror}")]
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(str(file), [FieldError(field="file", message=f"is not TOML: {error}")]) from error


def _overrides(environment: Mapping[str, str]) -> dict[str, Any]:
    """`LITESTAR_DIFFUSION__A__B=x` becomes `{"a": {"b": "x"}}`; lists are written as in TOML."""
    tree: dict[str, Any] = {}
    for key, value in environment.items():
        if not key.upper().startswith(ENV_PREFIX):
            continue
        *tables, last = key[len(ENV_PREFIX) :].lower().split("__")
        node = tree
        for table in tables:
            node = cast("dict[str, Any]", node.setdefault(table, {}))
        node[last] = _list(value) if value.startswith("[") else value
    return tree


def _list(text: str) -> Any:
    """A list as TOML writes it, `["a", "b"]`; text that is none stays text."""
    try:
        return tomllib.loads(f"list = {text}")["list"]
    except tomllib.TOMLDecodeError:
        return text


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], cast("Mapping[str, Any]", value))
        else:
            merged[key] = value
    return merged


def _anchored(settings: Settings, base: Path) -> Settings:
    """Relative folders are relative to the settings file; empty ones are turned off."""
    models = settings.models
    directory = str(base / Path(models.directory).expanduser()) if models.directory else None
    cache = str(Path(settings.hub.cache).expanduser()) if settings.hub.cache else None
    return msgspec.structs.replace(
        settings,
        models=msgspec.structs.replace(models, directory=directory, default=models.default or None),
        hub=msgspec.structs.replace(settings.hub, cache=cache),
    )
