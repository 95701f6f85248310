"""The settings: one TOML file, overridden by environment variables. No other module reads either."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .domain.access.api_key import ApiKey, wrong_keys
from .domain.errors import FieldError, InvalidSettings
from .domain.jobs.webhooks.webhook import wrong_secret
from .domain.models.aliases import USUAL_ALIASES, wrong_aliases
from .domain.models.spec import DtypeName, HubModel, ModelOverrides
from .domain.requests.parameters import Limits
from .domain.validation import convert_all
from .settings_sources import FILE_VARIABLE, merged, overrides, read_file, with_plain_words

DEFAULT_FILE = Path("settings.toml")
DEFAULT_JOBS = "data"
"""Folder of the jobs of the standalone application."""

Fraction = Annotated[float, Meta(gt=0, le=1)]
_MAX_COUNT = 2**53
_MAX_NBYTES = 2**60
_MAX_S = 1e9
"""Larger numbers are slips: a budget of an exbibyte, thirty years of waiting."""
Nbytes = Annotated[int, Meta(gt=1, le=_MAX_NBYTES)]
NbytesOrNone = Annotated[int, Meta(ge=0, le=_MAX_NBYTES)]
"""Bytes, of which 0 means none."""
Count = Annotated[int, Meta(ge=0, le=_MAX_COUNT)]
Seconds = Annotated[float, Meta(ge=0, le=_MAX_S)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=_MAX_S)]
DeviceText = Annotated[str, Meta(pattern=r"^(cpu|mps|cuda:\d{1,3})$")]
"""A device by torch's name; GPUs with their number."""
PathText = Annotated[str, Meta(pattern=r"^[^\x00]*$")]
Origin = Annotated[str, Meta(pattern=r"^(\*|null|[a-z][a-z0-9+.-]*://[^/\s*]+)$")]
"""An origin as browsers write it: `https://app.example.org`, without a path or a final slash."""
HostName = Annotated[str, Meta(pattern=r"^(\*|(\*\.)?[^*:/\s]+)$")]
"""`images.example.org`, or `*.example.org` for all names below it."""

RootPathText = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*/?$")]
"""`/images` or `/tools/images`, with or without a final slash."""

SHIPPED_HUB_MODELS = (
    HubModel(name="sdxl-base", repo="stabilityai/stable-diffusion-xl-base-1.0", variant="fp16"),
    HubModel(name="sdxl-turbo", repo="stabilityai/sdxl-turbo", variant="fp16"),
)
"""Repositories that are offered without a settings file, too."""

_LOOPBACK: Mapping[str, str] = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to
"""An address to connect to for each that means all addresses of the machine."""


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the standalone application is reached."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address to listen on; IPv6 with or without brackets."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """TCP port; 0 takes a free one, which `serve` prints."""
    root_path: RootPathText = ""
    """Prefix under which a reverse proxy offers the server, such as `/images`; whether it removes the prefix does not matter."""
    page: bool = True
    """Whether browsers get a page at `/`, and not the JSON that programs get there."""
    shutdown_grace_s: Seconds = 10.0
    """Seconds that running images get after Ctrl+C or SIGTERM; waiting requests end at once. The port stays open and refuses."""
    shutdown_notice_s: Seconds = 3.0
    """Seconds for which the port then stays open, if there were jobs, so that clients that ask for them learn how they ended."""
    allowed_origins: tuple[Origin, ...] = ()
    """Origins whose web pages may use the server, besides its own pages; `*` allows all."""
    allowed_hosts: tuple[HostName, ...] = ()
    """Host names of the server besides localhost and the machine's own name; `*` allows all."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; `*` believes all."""
    insecure: bool = False
    """Whether it may be reached from other machines without keys."""
    max_connections: Annotated[int, Meta(ge=1, le=_MAX_COUNT)] = 1024
    """Connections that are open at the same time; fewer if the system gives the process fewer file descriptors. One that is idle,
    of the address with most, makes room for a new one; if all are busy, new ones get 503, except for health checks."""
    max_connections_per_address: Annotated[int, Meta(ge=1, le=_MAX_COUNT)] = 256
    """The same of one address, or one /64 network of IPv6, which get 429; trusted proxies and socket files have no such limit."""
    header_timeout_s: PositiveSeconds = 10.0
    """Seconds in which the header of a request must arrive."""
    body_timeout_s: PositiveSeconds = 20.0
    """Seconds of waiting for a request's body, besides those that it takes at `min_bytes_per_s`; then 408."""
    write_timeout_s: PositiveSeconds = 30.0
    """Seconds in which a client must read some of an answer that is ready, besides those that it takes at `min_bytes_per_s`."""
    min_bytes_per_s: Annotated[int, Meta(ge=1, le=_MAX_NBYTES)] = 1000
    """Average bytes a second of the slowest body and the slowest reader."""
    keep_alive_timeout_s: PositiveSeconds = 5.0
    """Seconds for which a connection is kept between two requests."""

    @property
    def url(self) -> str:
        """URL of the server for programs on the same machine."""
        bare = self.host.strip().removeprefix("[").removesuffix("]")
        host = _LOOPBACK.get(bare, bare)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class ModelsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The models of the catalogue, and how they are loaded."""

    directory: PathText | None = "models"
    """Folder of local models, relative to the settings file; `""` turns local models off."""
    default: str | None = "demo"
    """Model that is loaded at start, before readiness turns true; `""` loads none."""
    builtin: bool = True
    """Whether the catalogue lists the demo models that ship with the package."""
    preload: tuple[str, ...] = ()
    """Models that are loaded after the default one, in this order."""
    pinned: tuple[str, ...] = ()
    """Models that stay in memory once they are loaded."""
    dtype: DtypeName = "auto"
    """Data type of weights; `auto`: bfloat16 if the device is fast in it, otherwise float16 on a GPU and float32 on a CPU."""
    hub_enabled: bool = True
    """Whether the catalogue lists the entries of `hub`."""
    hub: tuple[HubModel, ...] = SHIPPED_HUB_MODELS
    """Repositories on the Hugging Face Hub; a list of one's own replaces these."""
    aliases: dict[str, str] = msgspec.field(default_factory=lambda: dict(USUAL_ALIASES))
    """Other names of models, each with the name that it stands for: of a model, of another alias, or `default` for `default`.
    The usual ones hold beside those that are stated; `""` removes one."""
    local: dict[str, ModelOverrides] = {}
    """Corrections and defaults of local models, by name."""


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How repositories are downloaded. The access token is the environment variable HF_TOKEN."""

    cache: PathText | None = None
    """Folder of downloads; None: huggingface_hub's own, usually ~/.cache/huggingface/hub."""
    offline: bool = False
    """Whether only downloaded repositories are used, without a request to the Hub."""


class DeviceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The devices that models run on."""

    # A text of any form: msgspec 0.22 crashes on a pattern in a union with a sequence.
    names: str | tuple[DeviceText, ...] = "all"
    """`all`: each GPU; or a list, such as `["cuda:0", "cuda:2"]`, or `["cpu", "cpu"]` for two CPU devices of half the cores."""
    name: Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")] = "auto"
    """The only device; `auto`: those that `names` says."""
    threads: Annotated[int, Meta(ge=0, le=4096)] = 0
    """CPU threads of torch for each device; 0: one per core for large models, one for small models."""

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the devices to use; `auto` alone: all GPUs, or the CPU if there is none."""
        if isinstance(self.names, str):
            return (self.name,)
        return self.names


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Workers of `serve --ray`, each with a device of its own."""

    workers: Annotated[int, Meta(ge=1, le=_MAX_COUNT)] = 1
    """Workers at the start, and the least ones."""
    max_workers: Count = 0
    """Most workers: more are started while requests would wait for longer than `target_wait_s`. 0: always `workers`."""
    target_wait_s: PositiveSeconds = 20.0
    """Seconds that a request should wait at most, by the estimates of the workers."""
    gpus_per_worker: Annotated[float, Meta(ge=0, le=64)] = 1.0
    """GPUs that Ray reserves for a worker; 0: it computes on the CPU."""
    cpus_per_worker: Annotated[float, Meta(ge=0, le=4096)] = 1.0
    """CPUs that Ray reserves for a worker."""
    ingress_replicas: Annotated[int, Meta(ge=1, le=_MAX_COUNT)] = 1
    """Processes that answer HTTP; several need `jobs.database`, or a disk that they share."""
    max_models_per_worker: Annotated[int, Meta(ge=1, le=_MAX_COUNT)] = 8
    """Models for which requests are led to a worker that has had them before."""


class MemorySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Memory that models may use. Budgets are bytes, or up to 1.0 a fraction of what the machine or its container has."""

    device: Fraction | Nbytes = 0.9
    """Budget on the device, for weights and activations."""
    host: Fraction | Nbytes = 0.8
    """Budget in host memory; on a CPU it is the only one."""
    device_reserve: NbytesOrNone = 0
    """Bytes that are subtracted from the device's budget, for other programs."""
    idle_timeout_s: Seconds = 0.0
    """Seconds without a request after which a model is unloaded; 0 keeps it."""
    prompt_cache: NbytesOrNone = 64 * 1024**2
    """Bytes of host memory for the encoded prompts of each model; 0 keeps none."""
    lease_warning_s: PositiveSeconds = 900.0
    """Seconds after which a lease that has not been returned is reported in the log."""


class LimitsSettings(Limits, frozen=True, kw_only=True):
    """Limits of one request, how its prompts are read, and limits of the queue."""

    max_waiting: Count = 128
    """Requests that may wait; the next one gets 503 with Retry-After."""
    max_waiting_per_client: Count = 0
    """Requests of one client that may wait; its next one gets 429. 0: as many as there are free places, so that a client alone
    may fill half of the queue, the next one half of the rest."""
    max_wait_s: Seconds = 0.0
    """Seconds that a request may wait before it gets 503; 0: no limit."""
    max_request_s: Seconds = 3600.0
    """Seconds that a request may take the device, by its estimate, or by the clock if there is none; 0: no limit."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=_MAX_NBYTES)] = 1_000_000
    """Largest request body of routes that take no pictures."""
    max_upload_bytes: Annotated[int, Meta(ge=1024, le=_MAX_NBYTES)] = 32_000_000
    """Largest request body of routes that take pictures, in base64 or as a form."""
    max_buffered_bytes: Annotated[int, Meta(ge=1024, le=_MAX_NBYTES)] = 536_870_912
    """Bytes of the bodies of all requests that are being read or answered; beyond that, 503 with Retry-After. One address may
    hold as many as are free, so that alone it gets half of them."""
    dry_runs_per_minute: Count = 120
    """Dry runs of one client a minute; the next one gets 429. 0: no limit."""


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The order of requests, and which of them share steps."""

    max_rows: Annotated[int, Meta(ge=1, le=256)] = 16
    """Most rows of the denoiser's batch; an image takes two with guidance, one without."""
    max_passes: Count = 8
    """Later requests that may be served before a request whose model is not on the device."""
    patience_s: Seconds = 30.0
    """Seconds of waiting after which no later request is served before it."""
    slice_s: Annotated[float, Meta(ge=0.1, le=_MAX_S)] = 2.0
    """Seconds for which a batch runs before it gives way, between two steps, to a client that has had less of the device."""
    whole_decode_px: Count = 2_359_296
    """Pixels of the largest image that a CPU decodes in one piece; larger ones are decoded in tiles. 0: all in one piece."""
    stuck_after_s: PositiveSeconds = 600.0
    """Seconds without a finished step after which the device counts as stuck: readiness turns false, requests get 503."""


class JobsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where jobs are kept, for how long, and how their events are sent."""

    directory: PathText | None = None
    """Folder of the jobs, relative to the settings file; `""` keeps them in memory. None: `data` in the standalone application,
    and memory in a host application."""
    database: str | None = None
    """URL of a PostgreSQL database that several servers share, with a `directory` that they share, too; None: SQLite in it."""
    keep_s: Seconds = 86_400.0
    """Seconds for which a finished job is kept."""
    max_finished: Count = 1000
    """Finished jobs that are kept; the oldest are dropped first."""
    max_result_bytes: NbytesOrNone = 536_870_912
    """Bytes of the images of all finished jobs together; the oldest jobs are dropped first."""
    min_free_bytes: NbytesOrNone = 268_435_456
    """Bytes that stay free on the disk of `directory`: with less, new jobs get 503."""
    max_attempts: Annotated[int, Meta(ge=1, le=_MAX_COUNT)] = 3
    """Servers that may end while they load the model of a job or run it, by a crash or `kill -9`; then it fails."""
    lease_s: Annotated[float, Meta(ge=3, le=3600)] = 30.0
    """Seconds without a sign of life after which another server on the same database takes the jobs of one."""
    keep_alive_s: PositiveSeconds = 15.0
    """Seconds without an event after which a comment is sent, so that proxies keep the connection."""


class WebhooksSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which addresses are told of the end of a job, if its request has a `callback_url`."""

    allowed_hosts: tuple[HostName, ...] = ()
    """Hosts that may be called; `*` allows all. None: requests with a `callback_url` are refused."""
    secret: str = ""
    """Signs what is sent: `whsec_` and 24 to 64 random bytes in base64."""
    allow_private: bool = False
    """Whether hosts may have private addresses, and be called without TLS."""
    timeout_s: Annotated[float, Meta(gt=0, le=30)] = 10.0
    """Seconds in which a host must answer."""


class DialectsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """HTTP APIs of other servers that are offered beside the native one, by the names of their dialects."""

    openai: bool = True
    """OpenAI's image API, below `/v1`."""
    a1111: bool = True
    """The API of AUTOMATIC1111's web UI, below `/sdapi/v1`."""
    huggingface: bool = True
    """Bodies of Hugging Face's inference clients at `/generate/{model}`."""

    @property
    def off(self) -> frozenset[str]:
        """Names of the dialects that are switched off."""
        return frozenset(name for name, on in msgspec.structs.asdict(self).items() if not on)


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Contents and format of the log."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto`: colours on a terminal, JSON otherwise."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    prompts: bool = False
    """Whether prompts appear in the log."""


class TelemetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent to other programs about requests."""

    traces: bool = False
    """Whether requests make spans of OpenTelemetry; needs the extra `otel`. The variables OTEL_* say where they go."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings; each field is a table of settings.toml."""

    server: ServerSettings = ServerSettings()
    models: ModelsSettings = ModelsSettings()
    hub: HubSettings = HubSettings()
    device: DeviceSettings = DeviceSettings()
    cluster: ClusterSettings = ClusterSettings()
    memory: MemorySettings = MemorySettings()
    limits: LimitsSettings = LimitsSettings()
    dispatch: DispatchSettings = DispatchSettings()
    jobs: JobsSettings = JobsSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    dialects: DialectsSettings = DialectsSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    keys: dict[str, ApiKey] = {}
    """API keys by name. If there are any, every request needs one."""


def load_settings(file: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read a settings file and apply the overrides of the environment.

    Args:
        file: the file to read; None: the one that LITESTAR_DIFFUSION_SETTINGS names, else `settings.toml` in the working
            directory if it exists, else none.
        environment: variables such as `LITESTAR_DIFFUSION__SERVER__PORT=9000`, which sets `server.port`; None: those of the
            process.

    Raises:
        InvalidSettings: naming every wrong key, its value and what is allowed.
    """
    environment = os.environ if environment is None else environment
    file = file or file_named_in_environment(environment) or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)
    origin = str(file or "the environment")
    raw = read_file(file) if file is not None else {}
    settings = _converted(raw, str(file), strict=True)
    stated = overrides(environment, Settings)
    if stated:
        settings = _converted(merged(raw, stated), "the environment (LITESTAR_DIFFUSION__…)", strict=False)
    if errors := _wrong(settings):
        raise InvalidSettings(origin, errors)
    return _anchored(settings, file.parent if file is not None else Path(), origin)


def with_durable_jobs(settings: Settings, file: Path | None = None) -> Settings:
    """Keep jobs on disk, as the standalone application does, unless the settings say where, or not to.

    Args:
        settings: of all parts.
        file: the one that they are from, if it was named; otherwise the folder is in the working directory.
    """
    if settings.jobs.directory is not None:
        return settings
    file = file or file_named_in_environment()
    directory = str((file.parent if file is not None else Path()) / DEFAULT_JOBS)
    return msgspec.structs.replace(settings, jobs=msgspec.structs.replace(settings.jobs, directory=directory))


def _wrong(settings: Settings) -> list[FieldError]:
    """Find what the types of the settings cannot say."""
    return [
        *wrong_aliases(settings.models.aliases, settings.models.default),
        *wrong_keys(settings.keys),
        *_wrong_devices(settings.device),
        *_wrong_jobs(settings.jobs),
        *_wrong_webhooks(settings.webhooks),
        *(
            FieldError(field="server.trusted_proxies", message=f"must hold addresses and networks, got {proxy[:60]!r}")
            for proxy in settings.server.trusted_proxies
            if not _is_network(proxy)
        ),
    ]


def _wrong_devices(device: DeviceSettings) -> list[FieldError]:
    if isinstance(device.names, str):
        wrong = FieldError(field="device.names", message=f'must be "all" or a list, got {device.names[:60]!r}')
        return [] if device.names == "all" else [wrong]
    names, gpus = device.names, [name for name in device.names if name != "cpu"]
    if not names:
        return [FieldError(field="device.names", message='must name a device, or be "all"')]
    if device.name != "auto":
        return [FieldError(field="device.names", message="cannot be stated beside device.name; keep one of the two")]
    if len(set(gpus)) < len(gpus):
        return [FieldError(field="device.names", message="names a GPU twice; only cpu may be repeated")]
    if len({name.partition(":")[0] for name in names}) > 1:
        # Weights are in host memory once, in the dtype and layout of their devices.
        return [FieldError(field="device.names", message="must be of one kind: GPUs of one maker, or CPUs")]
    return []


def _wrong_jobs(jobs: JobsSettings) -> list[FieldError]:
    if jobs.database and not re.match(r"^(postgres(ql)?|sqlite)(\+\w+)?://", jobs.database):
        return [FieldError(field="jobs.database", message="must be a URL such as postgresql://user:password@host/name")]
    if jobs.database and jobs.directory == "":
        return [FieldError(field="jobs.database", message="needs jobs.directory, for the files of the jobs")]
    return []


def _wrong_webhooks(webhooks: WebhooksSettings) -> list[FieldError]:
    needed = webhooks.secret or webhooks.allowed_hosts
    wrong = wrong_secret(webhooks.secret) if needed else None
    return [] if wrong is None else [FieldError(field="webhooks.secret", message=wrong)]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return text == "*"
    return True


def file_named_in_environment(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the settings file that LITESTAR_DIFFUSION_SETTINGS names; None if it names none."""
    environment = os.environ if environment is None else environment
    named = environment.get(FILE_VARIABLE)
    return Path(named) if named else None


def _converted(raw: Mapping[str, Any], origin: str, *, strict: bool) -> Settings:
    settings, errors = convert_all(with_plain_words(raw, Settings), Settings, strict=strict)
    if settings is None:
        raise InvalidSettings(origin, errors)
    return settings


def _anchored(settings: Settings, base: Path, origin: str) -> Settings:
    """Resolve the folders of models and jobs against that of the settings file; an empty text of the others becomes None."""
    models, hub = settings.models, settings.hub
    try:
        directory = str(base / Path(models.directory).expanduser()) if models.directory else None
        cache = str(Path(hub.cache).expanduser()) if hub.cache else None
        jobs = str(base / Path(settings.jobs.directory).expanduser()) if settings.jobs.directory else ""
    except RuntimeError as error:  # `~name` of a user that this machine does not know
        wrong = FieldError(
            field="models.directory, hub.cache or jobs.directory",
            message=f"begins with an unknown home folder: {error}",
        )
        raise InvalidSettings(origin, [wrong]) from error
    return msgspec.structs.replace(
        settings,
        models=msgspec.structs.replace(models, directory=directory, default=models.default or None),
        hub=msgspec.structs.replace(hub, cache=cache),
        jobs=msgspec.structs.replace(settings.jobs, directory=None if settings.jobs.directory is None else jobs),
    )
