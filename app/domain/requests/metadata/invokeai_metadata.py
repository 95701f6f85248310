"""Reads generation data from the texts that InvokeAI writes into its files, in the forms of its three generations."""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ..samplers import UnknownSampler, parse_sampler, spec_of
from .infotext import Infotext

_COMMAND = re.compile(r'^\s*"((?:\\.|[^"\\])*)"(.*)$', re.DOTALL)
_OPTION = re.compile(r"-([sSWHCA])\s?([\w.+-]{1,40})")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
"""The negative prompt inside a prompt of version 2."""


def read_invokeai(text: str) -> Infotext | None:
    """Read `invokeai_metadata`, of version 3 and later."""
    said = _object(text)
    if not isinstance(said.get("positive_prompt"), str):
        return None
    model = _mapping(said.get("model"))
    return _infotext(
        said["positive_prompt"],
        _text(said.get("negative_prompt")),
        said,
        sampler=_text(said.get("scheduler")),
        model=_text(model.get("name") or model.get("model_name")),
    )


def read_invokeai_2(text: str) -> Infotext | None:
    """Read `sd-metadata`, of version 2."""
    outer = _object(text)
    said = _mapping(outer.get("image"))
    prompt = said.get("prompt")
    if isinstance(prompt, list) and prompt:
        prompt = _mapping(cast("list[object]", prompt)[0]).get("prompt")
    if not isinstance(prompt, str):
        return None
    return _infotext(
        *_divided(prompt), said, sampler=_text(said.get("sampler")), model=_text(outer.get("model_weights"))
    )


def read_invokeai_command(text: str) -> Infotext | None:
    """Read `Dream`, the command line of version 1: `"a cat" -s 50 -S 42 -W 512 -H 512 -C 7.5 -A k_lms`."""
    match = _COMMAND.match(text[:10_000])
    if match is None:
        return None
    options = dict(_OPTION.findall(match[2]))
    said = {"steps": options.get("s"), "seed": options.get("S"), "width": options.get("W"), "height": options.get("H")}
    return _infotext(
        *_divided(match[1]), {**said, "cfg_scale": options.get("C")}, sampler=options.get("A", ""), model=""
    )


def _infotext(prompt: str, negative: str, said: Mapping[str, Any], *, sampler: str, model: str) -> Infotext:
    width, height = _text(said.get("width")), _text(said.get("height"))
    settings = {
        "Steps": _text(said.get("steps")),
        "Sampler": _sampler_label(sampler),
        "CFG scale": _text(said.get("cfg_scale")),
        "Seed": _text(said.get("seed")),
        "Size": f"{width}x{height}" if width and height else "",
        "Model": model,
        "Version": "InvokeAI",
    }
    return Infotext(
        prompt=prompt, negative_prompt=negative, settings={name: value for name, value in settings.items() if value}
    )


def _divided(prompt: str) -> tuple[str, str]:
    negative = ", ".join(_BRACKETS.findall(prompt))
    return _BRACKETS.sub("", prompt).strip(), negative


def _sampler_label(name: str) -> str:
    try:
        return spec_of(parse_sampler(name)).label if name else ""
    except UnknownSampler:
        return name


def _object(text: str) -> Mapping[str, Any]:
    try:
        return _mapping(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)
