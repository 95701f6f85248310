"""`litestar-diffusion keys add | list | remove`: the API keys of a settings file."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast, get_args

import click

from ...domain.access.api_key import ApiKey, hash_of, new_key, wrong_name
from ...domain.access.scopes import Scope
from ...domain.validation import convert_all
from ...settings import DEFAULT_FILE, file_named_in_environment, load_settings
from ..failures import Failure
from ..key_tables import key_table, with_key, without_key
from ..options import settings_option

_RESTART = "Settings are read at start: restart the server."


class _Scopes(click.ParamType[Any]):
    """Scopes with commas between them."""

    name = "scope,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Scope, ...]:
        """Split and check."""
        stated = tuple(part.strip() for part in str(value).split(","))
        if unknown := [part for part in stated if part not in get_args(Scope)]:
            self.fail(f"{unknown[0]!r} is no scope: there are {', '.join(get_args(Scope))}.", param, ctx)
        return cast("tuple[Scope, ...]", tuple(dict.fromkeys(stated)))


@click.group()
def keys() -> None:
    """Make, list and remove API keys.

    If a server has keys, every request needs one: as `Authorization: Bearer KEY`, as `X-API-Key: KEY`, or as the password of HTTP
    Basic. The settings hold hashes alone.
    """


@keys.command()
@click.argument("name")
@click.option("--scopes", type=_Scopes(), default="generate", show_default=True, help="generate, read, admin.")
@click.option("--requests-per-minute", type=float, help="Requests for images a minute.")
@click.option("--megapixel-steps-per-minute", type=float, help="Work a minute: width x height x steps x images / 1e6.")
@click.option("--max-waiting", type=int, help="Requests that may wait.")
@click.option("--model", "models", multiple=True, help="A model that it may use, also with *; may be repeated.")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="First day on which it is no longer valid.")
@click.option("--print", "print_only", is_flag=True, help="Print the table, the key on standard error; write no file.")
@settings_option
def add(name: str, print_only: bool, settings_file: Path | None, **stated: Any) -> None:
    """Make a key, print it once on standard output, and add its hash to the settings file."""
    if wrong := wrong_name(name):
        raise click.UsageError(f"The name of a key {wrong}, got {name[:80]!r}.")
    text = new_key()
    key = _key(hash_of(text), stated)
    if print_only:
        click.echo(f"The key {name!r}, which is shown this once: {text}", err=True)
        click.echo(key_table(name, key), nl=False)
        return
    file = _file(settings_file)
    if file.exists() and name in load_settings(file, {}).keys:
        raise Failure(
            f"{file} has a key {name!r}. Choose another name, or `litestar-diffusion keys remove {name}` first."
        )
    with_key(file, name, key)
    click.echo(f"The key {name!r} is in {file}. It is shown this once. {_RESTART}", err=True)
    click.echo(text)


@keys.command(name="list")
@settings_option
def list_keys(settings_file: Path | None) -> None:
    """List the keys of the settings and of the environment."""
    found = load_settings(settings_file).keys
    rows = [("KEY", "SCOPES", "EXPIRES", "LIMITS"), *(_row(name, key) for name, key in sorted(found.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, scopes, expires, limits in rows:
        click.echo(f"{name:{widths[0]}}  {scopes:{widths[1]}}  {expires:{widths[2]}}  {limits}".rstrip())


@keys.command()
@click.argument("name")
@settings_option
def remove(name: str, settings_file: Path | None) -> None:
    """Remove a key from the settings file; the rest of the file, comments too, stays as it is."""
    file = _file(settings_file)
    if not file.exists() or name not in load_settings(file, {}).keys:
        hint = " It is one of the environment." if name in load_settings(settings_file).keys else ""
        raise Failure(f"{file} has no key {name!r}.{hint} `litestar-diffusion keys list` lists all keys.")
    without_key(file, name)
    click.echo(f"The key {name!r} is no longer in {file}. {_RESTART}", err=True)


def _key(hashed: str, stated: dict[str, Any]) -> ApiKey:
    expires: datetime | None = stated.pop("expires")
    raw = {**stated, "hash": hashed, "expires": None if expires is None else expires.date()}
    key, errors = convert_all(raw, ApiKey)
    if key is None:
        raise click.UsageError("; ".join(f"--{each.field.replace('_', '-')} {each.message}" for each in errors) + ".")
    return key


def _file(settings_file: Path | None) -> Path:
    return settings_file or file_named_in_environment() or DEFAULT_FILE


def _row(name: str, key: ApiKey) -> tuple[str, str, str, str]:
    limits = {
        "requests/min": key.requests_per_minute,
        "megapixel-steps/min": key.megapixel_steps_per_minute,
        "waiting": key.max_waiting,
        "models": ",".join(key.models) or None,
    }
    shown = ", ".join(
        f"{what}: {limit:g}" if isinstance(limit, float) else f"{what}: {limit}" for what, limit in _set(limits)
    )
    return name, ",".join(key.scopes), _expiry(key.expires), shown


def _set(limits: dict[str, Any]) -> Sequence[tuple[str, Any]]:
    return [(what, limit) for what, limit in limits.items() if limit is not None]


def _expiry(expires: date | None) -> str:
    if expires is None:
        return "never"
    return f"{expires} (expired)" if expires <= datetime.now(UTC).date() else str(expires)
