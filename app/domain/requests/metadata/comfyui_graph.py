"""Reads generation data from the graph that ComfyUI writes into its files."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from ..samplers import UnknownSampler, parse_sampler, spec_of
from .infotext import Infotext

_Graph = Mapping[str, Mapping[str, Any]]
"""Inputs of each node, by its id. An input is a value, or a link `[id of a node, number of its output]`."""

_MAX_DEPTH = 30
"""Links that are followed from a node."""
_TEXTS = ("text", "text_g", "text_l", "string", "value", "prompt")
_ONWARD = ("conditioning", "conditioning_1", "conditioning_to", "positive", "model", "text", "string")
"""Inputs that lead on to the node which holds the text or the model."""


def read_comfyui(text: str) -> Infotext | None:
    """Read the first sampler of a graph, and what leads to it; None if there is none."""
    graph = _graph(text)
    sampler = next(_samplers(graph), None)
    if sampler is None:
        return None
    return Infotext(
        prompt=_found(graph, sampler.get("positive"), _TEXTS) or "",
        negative_prompt=_found(graph, sampler.get("negative"), _TEXTS) or "",
        settings={name: value for name, value in _settings(graph, sampler) if value},
    )


def _graph(text: str) -> _Graph:
    try:
        nodes = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    if not isinstance(nodes, dict):
        return {}
    return {
        str(key): cast("Mapping[str, Any]", node["inputs"])
        for key, node in cast("Mapping[str, Any]", nodes).items()
        if isinstance(node, dict) and isinstance(cast("Mapping[str, Any]", node).get("inputs"), dict)
    }


def _samplers(graph: _Graph) -> Iterator[Mapping[str, Any]]:
    for inputs in graph.values():
        if "positive" in inputs and "negative" in inputs and "steps" in inputs:
            yield inputs


def _settings(graph: _Graph, sampler: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Steps", _number(graph, sampler.get("steps"))
    yield "Sampler", _sampler_label(str(sampler.get("sampler_name", "")))
    yield "Schedule type", str(sampler.get("scheduler", "")).replace("_", " ").title()
    yield "CFG scale", _number(graph, sampler.get("cfg"))
    yield "Seed", _number(graph, sampler.get("seed", sampler.get("noise_seed")))
    latent = _node(graph, sampler.get("latent_image"))
    width, height = _number(graph, latent.get("width")), _number(graph, latent.get("height"))
    yield "Size", f"{width}x{height}" if width and height else ""
    yield "Model", _found(graph, sampler.get("model"), ("ckpt_name", "unet_name")) or ""
    yield "Version", "ComfyUI"


def _sampler_label(name: str) -> str:
    try:
        return spec_of(parse_sampler(name)).label
    except UnknownSampler:
        return name


def _node(graph: _Graph, link: object) -> Mapping[str, Any]:
    """Return the inputs of the node that an input is linked to."""
    if isinstance(link, list) and link:
        return graph.get(str(cast("list[object]", link)[0]), {})
    return {}


def _number(graph: _Graph, value: object) -> str:
    """Write a number, which may be the value of another node."""
    if isinstance(value, list):
        node = _node(graph, cast("object", value))
        value = next((node[key] for key in ("value", "seed", "int", "float", "number") if key in node), None)
    return f"{value:.10g}" if isinstance(value, float) else str(value) if isinstance(value, int) else ""


def _found(graph: _Graph, link: object, names: tuple[str, ...]) -> str | None:
    """Follow links until a node has a text under one of these names."""
    for _ in range(_MAX_DEPTH):
        node = _node(graph, link)
        for name in names:
            if isinstance(node.get(name), str):
                return str(node[name])
        link = next((node[name] for name in _ONWARD if isinstance(node.get(name), list)), None)
        if link is None:
            return None
    return None
