r"""Prompts that change while an image is denoised, written as for AUTOMATIC1111's web UI.

`[from:to:when]` is `from` up to step `when` and `to` after it, `[to:when]` adds and `[from::when]` removes; `[a|b|c]` is another
one at each step. They nest, and brackets that weigh words stay in the text, which `prompt_syntax` reads. `when` with a dot is a
share of the steps, without one a number of steps. Brackets that form none of these are text. A `|` outside of such brackets, or
a backslash at the end, turns all of it off: the web UI's grammar has no place for them and takes such a prompt as it is.
`embedding:` is one word: its colon divides nothing.

No library is used: the web UI parses with lark's Earley parser, which takes cubic time for a line of brackets. An item ends at
the bracket that matches its first one, so one pass with a stack finds the same items in linear time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""
    (?P<text>\\. | \bembedding: | (?:(?!\bembedding:)[^\\()\[\]:|])+)
    | (?P<bracket>[()\[\]])
    | (?P<divider>[:|])
    | \\
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_CLOSES = {")": "(", "]": "["}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A text, and the last of the steps that it is used for."""

    last_step: int
    """Counted from 1. The first one follows the stretch before."""
    text: str


@dataclass(frozen=True, slots=True)
class Passes:
    """The steps that a prompt is spread over."""

    steps: int
    """Steps of the pass that is asked for."""
    before: int | None = None
    """Steps of a pass before it, in which steps up to that number and shares up to 1 change the prompt. None: it is the first."""

    def step_of(self, when: str) -> int:
        """Return the last step before a change; 0 or less if it has happened before the first."""
        number = float(when)
        if "." in when:
            number = (number - (self.before is not None)) * self.steps
        else:
            number -= self.before or 0
        return int(max(-1.0, min(number, self.steps)))


def prompt_schedule(text: str, passes: Passes) -> tuple[Stretch, ...]:
    """Return the texts that a prompt stands for, in the order of the steps; neighbours differ. Never fails."""
    parsed = _Parser(text).parse()
    if parsed is None:
        return (Stretch(passes.steps, text),)
    stretches: list[Stretch] = []
    for last_step in sorted(_last_steps(parsed, passes)):
        shown = "".join(_texts(parsed, last_step, passes))
        if stretches and stretches[-1].text == shown:
            stretches.pop()
        stretches.append(Stretch(last_step, shown))
    return tuple(stretches)


@dataclass(frozen=True, slots=True)
class _Group:
    """What stays as it is, with its brackets."""

    nodes: "list[_Node]"


@dataclass(frozen=True, slots=True)
class _Edit:
    before: "list[_Node]"
    after: "list[_Node]"
    when: str


@dataclass(frozen=True, slots=True)
class _Alternation:
    options: "list[list[_Node]]"


_Node = str | _Group | _Edit | _Alternation


@dataclass(slots=True)
class _Open:
    """A bracket whose end has not come, and the sections behind it."""

    bracket: str
    sections: "list[list[_Node]]" = field(default_factory=lambda: [[]])
    dividers: list[str] = field(default_factory=list[str])

    def as_text(self) -> "Iterator[_Node]":
        """Yield its parts if it turns out to begin no item."""
        yield self.bracket
        for section, divider in zip(self.sections, [*self.dividers, ""], strict=True):
            yield from section
            yield divider


class _Parser:
    """Reads one prompt in one pass."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._top: list[_Node] = []
        self._open: list[_Open] = []
        self._unreadable = False

    def parse(self) -> "list[_Node] | None":
        """Return the parts of the prompt; None if it is taken as it is."""
        for token in _TOKEN.finditer(self._text):
            if token["text"] is not None:
                self._innermost.append(token["text"])
            elif token["divider"] is not None:
                self._divide(token["divider"])
            elif token["bracket"] in ("(", "["):
                self._open.append(_Open(token["bracket"]))
            elif token["bracket"] is not None:
                self._close(token["bracket"])
            else:
                self._unreadable = True
        self._dissolve()
        return None if self._unreadable else self._top

    @property
    def _innermost(self) -> "list[_Node]":
        return self._open[-1].sections[-1] if self._open else self._top

    def _divide(self, divider: str) -> None:
        if self._open:
            self._open[-1].dividers.append(divider)
            self._open[-1].sections.append([])
        else:
            self._add_text([divider])

    def _close(self, bracket: str) -> None:
        item = _item(self._open[-1], bracket) if self._open else None
        if item is None:
            # An item holds whole items only, so no bracket that is open now can begin one.
            self._dissolve()
            self._top.append(bracket)
            return
        self._open.pop()
        self._innermost.append(item)

    def _dissolve(self) -> None:
        for opened in self._open:
            self._add_text(opened.as_text())
        self._open.clear()

    def _add_text(self, nodes: "Iterator[_Node] | list[_Node]") -> None:
        for node in nodes:
            self._unreadable |= node == "|"
            self._top.append(node)


def _item(opened: _Open, bracket: str) -> "_Node | None":
    """Return what a pair of brackets forms; None if it is none of the items."""
    if _CLOSES[bracket] != opened.bracket:
        return None
    sections, dividers = opened.sections, opened.dividers
    if not dividers or (bracket == ")" and dividers == [":"]):
        return _Group([*opened.as_text(), bracket])
    if bracket == ")":
        return None
    if all(divider == "|" for divider in dividers):
        return _Alternation(sections)
    last = sections[-1]
    if dividers not in ([":"], [":", ":"]) or len(last) != 1 or not isinstance(last[0], str):
        return None
    when = _WHEN.fullmatch(last[0])
    if when is None:
        return None
    return _Edit(before=sections[0] if len(dividers) == 2 else [], after=sections[-2], when=when[1])


def _last_steps(nodes: "list[_Node]", passes: Passes) -> set[int]:
    """Return the steps after which the text may change."""
    last_steps = {passes.steps}
    waiting: list[_Node] = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, _Group):
            waiting += node.nodes
        elif isinstance(node, _Edit):
            if (last_step := passes.step_of(node.when)) >= 1:
                last_steps.add(last_step)
            waiting += node.before + node.after
        elif isinstance(node, _Alternation):
            last_steps.update(range(1, passes.steps + 1))
            waiting += [each for option in node.options for each in option]
    return last_steps


def _texts(nodes: "list[_Node]", step: int, passes: Passes) -> Iterator[str]:
    """Yield the parts of the text of one step."""
    waiting: list[_Node] = nodes[::-1]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, _Group):
            waiting += reversed(node.nodes)
        elif isinstance(node, _Edit):
            waiting += reversed(node.before if step <= passes.step_of(node.when) else node.after)
        else:
            waiting += reversed(node.options[(step - 1) % len(node.options)])
