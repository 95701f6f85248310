"""Generation data as the text that AUTOMATIC1111's web UI writes: the prompts, then a line of settings."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

_NEGATIVE = "Negative prompt:"
_FIRST = "Steps: "
"""The first setting in every file."""
_SETTING = re.compile(r' ?(\w[\w \-/]{0,60}):[ ]?("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"^(\d{1,6})x(\d{1,6})$")
_MAX_LINE_CHARS = 50_000
"""A longer line of settings is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Infotext:
    """What one text says."""

    prompt: str
    negative_prompt: str = ""
    settings: Mapping[str, str]
    """By the web UI's names, such as `CFG scale`."""

    def __str__(self) -> str:
        """Write the text."""
        negative = [f"{_NEGATIVE} {self.negative_prompt}"] if self.negative_prompt else []
        line = ", ".join(f"{name}: {_quoted(value)}" for name, value in self.settings.items())
        return "\n".join([self.prompt, *negative, line])

    @property
    def fields(self) -> dict[str, str]:
        """Everything in one mapping, as the web UI's own parser returns it: a size is `Size-1` and `Size-2` too."""
        return {"Prompt": self.prompt, "Negative prompt": self.negative_prompt, **self.settings, **self._sizes()}

    def _sizes(self) -> dict[str, str]:
        found = {name: _SIZE.match(value) for name, value in self.settings.items()}
        return {f"{name}-{side}": match[side] for name, match in found.items() if match for side in (1, 2)}


def read_infotext(text: str) -> Infotext:
    """Read the text of a file; any text has a prompt at least."""
    *lines, last = text.strip().split("\n") or [""]
    settings = dict(_settings(last)) if _FIRST in last else {}
    if not settings:
        lines = [*lines, last]
    begin = next((index for index, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    negative = "\n".join(lines[begin:]).removeprefix(_NEGATIVE)
    return Infotext(prompt="\n".join(lines[:begin]).strip(), negative_prompt=negative.strip(), settings=settings)


def _settings(line: str) -> list[tuple[str, str]]:
    return [(name, _unquoted(value.strip())) for name, value in _SETTING.findall(line[:_MAX_LINE_CHARS])]


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def _unquoted(value: str) -> str:
    if not (value.startswith('"') and value.endswith('"')):
        return value
    try:
        return str(json.loads(value))
    except json.JSONDecodeError:
        return value
