"""Every key of the settings takes any value that a file or a variable can hold: as a setting, or as an error that names it."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.domain.models.spec import HubModel, ModelOverrides
from litestar_diffusion.settings import Settings, load_settings

NO_FILE = Path(os.devnull)
IN_TOML = (
    '""', '" "', '"x"', '"\\u0000"', '"~nobody-here/x"', '"../../.."', '"[::1"', f'"{"x" * 100_000}"', "true", "0", "1", "-1",
    "1.5", "nan", "-nan", "inf", "-inf", "1e308", "-0.0", "9223372036854775807", f"{10**30}", "[]", "[[]]", "[1, -1]", '[""]',
    "[{}]", '[{name = ""}]', '[{name = "a", repo = "a/b"}, {name = "a", repo = "a/b"}]', "{}", "{x = {}}", '{"" = 1}',
    "{x = {width = -1}}", "1979-05-27T07:32:00Z", "07:32:00",
)  # fmt: skip
IN_THE_ENVIRONMENT = (
    "", " ", "x", "~nobody-here/x", "null", "None", "true", "YES", "0", "1", "-1", "1.5", "nan", "inf", "-inf", "1e999", "0x10",
    "1_000", "9" * 400, "[]", " []", "[", "[" * 100_000, "{", "{}", '{"x": ' * 100_000, "[null]", '[{"name": null}]',
    '{"x": {"width": NaN}}', "\udcff", '["\udcff"]', "x" * 100_000, "\n", "[]]]\nport = 1",
)  # fmt: skip


def keys(struct: type[msgspec.Struct], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all tables and keys below a Struct."""
    for field in msgspec.structs.fields(struct):
        yield (*path, field.encode_name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys(field.type, (*path, field.encode_name))


KEYS = [
    *keys(Settings),
    *(("models", "local", "mine", *path) for path in keys(ModelOverrides)),
]


def refusal(file: Path, environment: dict[str, str]) -> str:
    """Load settings and build the services with them; returns the message of the error, empty without one."""
    try:
        build(load_settings(file, environment))
    except InvalidSettings as refused:
        return refused.message
    return ""


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_a_file_may_hold_any_value(path: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    for value in IN_TOML:
        file.write_text(f"{'.'.join(path)} = {value}\n")
        said = refusal(file, {})
        assert not said or ".".join(path) in said
        assert len(said) < 10_000


@pytest.mark.parametrize("path", KEYS, ids=".".join)
def test_a_variable_may_hold_any_text(path: tuple[str, ...]) -> None:
    name = f"LITESTAR_DIFFUSION__{'__'.join(path).upper()}"
    for text in IN_THE_ENVIRONMENT:
        said = refusal(NO_FILE, {name: text})
        assert not said or name in said or ".".join(path) in said
        assert len(said) < 10_000


@pytest.mark.parametrize(
    "name", ["", "__", "SERVER____PORT", "SERVER__PORT__X", "NO_SUCH", "MODELS__LOCAL____WIDTH", "ü", "x" * 100_000]
)
def test_a_variable_may_have_any_name(name: str) -> None:
    assert 0 < len(refusal(NO_FILE, {f"LITESTAR_DIFFUSION__{name}": "x"})) < 10_000


@pytest.mark.parametrize("key", [field.encode_name for field in msgspec.structs.fields(HubModel)])
def test_an_entry_of_the_hub_may_hold_any_value(key: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    usual = {"name": '"a"', "repo": '"a/b"'}
    for value in IN_TOML:
        entry = "\n".join(f"{name} = {text}" for name, text in {**usual, key: value}.items())
        file.write_text(f"[[models.hub]]\n{entry}\n")
        said = refusal(file, {})
        assert not said or f"models.hub[0].{key}" in said


@pytest.mark.parametrize(
    "content",
    ["x = " + "[" * 100_000, "x = " + "{a=" * 5_000, "\x00", "[a]\n[a]", "a.b = 1\na = 2"],
    ids=["arrays", "tables", "nul", "twice", "both"],
)
def test_a_file_may_hold_anything(content: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(content)
    assert "is not TOML" in refusal(file, {})
