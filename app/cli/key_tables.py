"""Tables `[keys.NAME]` in the text of a settings file. What else is in the file, comments too, stays as it is."""

import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from ..domain.access.api_key import ApiKey
from ..settings_sources import read_file
from .failures import Failure


def key_table(name: str, key: ApiKey) -> str:
    """Return the table of a key as text."""
    document = tomlkit.document()
    document["keys"] = _keys({name: _entry(key)})
    return tomlkit.dumps(document)


def with_key(file: Path, name: str, key: ApiKey) -> None:
    """Add a key to a file, which is made if there is none.

    Raises:
        Failure: the file cannot be written, or its keys are not written as tables.
    """
    entry = _entry(key)
    before = read_file(file) if file.exists() else {}
    text = file.read_text("utf-8-sig") if file.exists() else ""
    # At the end, as a person would write it: tables may stand in any order.
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    expected = {**before, "keys": {**before.get("keys", {}), name: msgspec.to_builtins(entry)}}
    _replace(file, text + separator + key_table(name, key), expected)


def without_key(file: Path, name: str) -> None:
    """Remove a key from a file that has it.

    Raises:
        Failure: the file cannot be edited or written.
    """
    before = read_file(file)
    others = {other: entry for other, entry in before["keys"].items() if other != name}
    expected = {**before, "keys": others} if others else {k: v for k, v in before.items() if k != "keys"}
    document = tomlkit.parse(file.read_text("utf-8-sig"))
    keys: Any = document["keys"]
    del keys[name]
    if not others:
        del document["keys"]
    _replace(file, tomlkit.dumps(document), expected)


def _entry(key: ApiKey) -> dict[str, Any]:
    stated = {field: value for field, value in msgspec.structs.asdict(key).items() if value not in (None, ())}
    return {field: list(value) if isinstance(value, tuple) else value for field, value in stated.items()}


def _keys(entries: dict[str, Any]) -> Any:
    keys = tomlkit.table(is_super_table=True)
    for name, entry in entries.items():
        table = tomlkit.table()
        table.update(entry)
        keys[name] = table
    return keys


def _replace(file: Path, text: str, expected: dict[str, Any]) -> None:
    """Write a file at once, or not at all; never one that says something else than was meant."""
    try:
        written = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise _by_hand(file) from error
    if _comparable(written) != _comparable(expected):
        raise _by_hand(file)
    try:
        _write(file, text)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}. --print shows what to add by hand.") from error


def _write(file: Path, text: str) -> None:
    target = file.resolve()  # the file behind a link is replaced, not the link
    mode = target.stat().st_mode if target.exists() else 0o600
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, delete=False) as written:
        written.write(text)
    path = Path(written.name)
    try:
        path.chmod(mode & 0o7777)
        os.replace(path, target)  # noqa: PTH105 - Path.replace is the same
    finally:
        path.unlink(missing_ok=True)


def _comparable(tree: Any) -> Any:
    return msgspec.json.encode(tree, order="deterministic")


def _by_hand(file: Path) -> Failure:
    return Failure(
        f"{file} cannot be edited, because its keys are not tables [keys.NAME] of their own. Edit it by hand."
    )
