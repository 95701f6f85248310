"""`keys add | list | remove`: the key is shown once, the file keeps all else, and a server knows the key after a restart."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from litestar_diffusion.cli import cli
from litestar_diffusion.domain.access.api_key import hash_of
from litestar_diffusion.domain.access.key_ring import KeyRing
from litestar_diffusion.settings import load_settings

FILE = """# Mine.
[server]
port = 9000  # not the usual one

[models.local."My Model"]
width = 832
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["keys", *arguments], catch_exceptions=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "settings.toml"


def test_a_key_is_alone_on_standard_output_and_only_its_hash_in_the_file(file: Path) -> None:
    made = run("add", "ci", "--scopes", "generate,read", "--requests-per-minute", "60", "--max-waiting", "2")
    assert made.exit_code == 0
    key = made.stdout.removesuffix("\n")
    assert re.fullmatch(r"ldk_[\w-]{43}", key)
    assert "restart the server" in made.stderr
    assert key not in file.read_text()
    assert key not in made.stderr
    stated = load_settings(file, {}).keys
    assert stated["ci"].hash == hash_of(key)
    assert (stated["ci"].requests_per_minute, stated["ci"].max_waiting) == (60, 2)
    assert KeyRing(stated).holder_of(key).scopes == ("generate", "read")


@pytest.mark.parametrize("newline", ["", "\n", "\n\n"])
def test_adding_and_removing_keeps_the_rest_of_the_file_with_its_comments(file: Path, newline: str) -> None:
    before = FILE.rstrip("\n") + newline
    file.write_text(before)
    for name in ("one", "two"):
        assert run("add", name, "--model", "demo", "--expires", "2030-01-01").exit_code == 0
    assert file.read_text().startswith(before)
    assert set(load_settings(file, {}).keys) == {"one", "two"}
    for name in ("one", "two"):
        assert run("remove", name).exit_code == 0
    assert file.read_text().strip() == before.strip()


def test_the_file_is_that_of_settings_or_of_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "a", "--settings", "other.toml")
    assert (file.exists(), "a" in load_settings(Path("other.toml"), {}).keys) == (False, True)
    monkeypatch.setenv("LITESTAR_DIFFUSION_SETTINGS", "third.toml")
    run("add", "b")
    assert "b" in load_settings(Path("third.toml"), {}).keys
    assert run("list").stdout.splitlines()[1].split() == ["b", "generate", "never"]


def test_print_writes_no_file(file: Path) -> None:
    made = run("add", "ci", "--scopes", "admin", "--print")
    assert not file.exists()
    key = made.stderr.split()[-1]
    assert tomllib.loads(made.stdout) == {"keys": {"ci": {"hash": hash_of(key), "scopes": ["admin"]}}}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "a b"], "letters a-z, digits"),
        (["add", "x", "--scopes", "root"], "'root' is no scope: there are generate, read, admin"),
        (["add", "x", "--max-waiting", "0"], "--max-waiting"),
        (["add", "known"], "has a key 'known'"),
        (["remove", "unknown"], "has no key 'unknown'"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(file: Path, arguments: list[str], told: str) -> None:
    run("add", "known")
    before = file.read_text()
    failed = run(*arguments)
    assert failed.exit_code != 0
    assert told in failed.stderr
    assert file.read_text() == before


def test_keys_that_are_no_tables_of_their_own_are_edited_or_left_as_they_are(file: Path) -> None:
    file.write_text(f'keys = {{ old = {{ hash = "{hash_of("x")}", scopes = ["read"] }} }}\n')
    before = file.read_text()
    failed = run("add", "new")
    assert failed.exit_code == 1
    assert "Edit it by hand" in failed.stderr
    assert file.read_text() == before


def test_a_wrong_file_is_told_before_it_is_touched(file: Path) -> None:
    file.write_text("[servre]\n")
    with pytest.raises(Exception, match="servre"):
        run("add", "ci")
    assert file.read_text() == "[servre]\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_serve_without_keys_ends_before_it_listens_beyond_loopback(file: Path, host: str) -> None:
    refused = CliRunner().invoke(cli, ["serve", "--host", host])
    assert refused.exit_code == 1
    assert "litestar-diffusion keys add NAME" in refused.stderr
    assert "--insecure" in refused.stderr


def test_a_key_is_added_to_a_file_that_is_not_there_yet_whatever_other_files_have(file: Path) -> None:
    assert run("add", "ci").exit_code == 0
    other = file.with_name("other.toml")
    assert run("add", "ci", "--settings", str(other)).exit_code == 0
    assert set(load_settings(other, {}).keys) == {"ci"}
