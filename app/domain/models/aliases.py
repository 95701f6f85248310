"""Aliases: other names of models, for clients that ask for a model of another service and cannot be told otherwise."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import FieldError
from ..validation import cut

DEFAULT = "default"
"""Alias of `models.default`."""
_FIXED_NAMES = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "dall-e-2", "dall-e-3")
USUAL_ALIASES: Mapping[str, str] = dict.fromkeys(_FIXED_NAMES, DEFAULT)
"""Names that clients of OpenAI's API fix; LibreChat and Open WebUI have no setting for them."""

_ALIAS = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")
"""An alias may hold what a model's name may not, such as the `/` of `owner/model`, which bodies can state and paths cannot."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """The aliases of the settings. A model of the same name is stronger than an alias."""

    targets: Mapping[str, str] = field(default_factory=dict[str, str])
    """Name of a model, or another alias, by alias."""

    @classmethod
    def of(cls, stated: Mapping[str, str], default: str | None) -> "Aliases":
        """Combine the usual aliases with those of the settings.

        Args:
            stated: `[models.aliases]`; an empty name removes a usual alias.
            default: `models.default`.
        """
        return cls(_targets(stated, default))

    def chain(self, name: str, models: Container[str]) -> tuple[str, ...]:
        """Follow a name to a model: `("gpt-image-1", "default", "demo")`. The last name is none of a model if there is none.

        Args:
            name: of a model or an alias.
            models: names that models have.
        """
        passed = [name]
        while passed[-1] not in models and (target := self.targets.get(passed[-1])) is not None:
            passed.append(target)
        return tuple(passed)

    def resolved(self, models: Container[str]) -> dict[str, str]:
        """Return the model of each alias that leads to one and whose name no model has."""
        ends = {alias: self.chain(alias, models)[-1] for alias in self.targets if alias not in models}
        return {alias: model for alias, model in ends.items() if model in models}

    def unknown(self, models: Container[str]) -> dict[str, list[str]]:
        """Return the aliases that lead to no model, by the name that is missing; not those of an absent `models.default`."""
        missing: dict[str, list[str]] = {}
        for alias in self.targets:
            end = self.chain(alias, models)[-1]
            if end not in models and end != DEFAULT:
                missing.setdefault(end, []).append(alias)
        return missing

    def shadowed(self, models: Container[str]) -> list[str]:
        """Return the aliases that mean nothing, because a model has their name."""
        return [alias for alias in self.targets if alias in models]


def wrong_aliases(stated: Mapping[str, str], default: str | None) -> list[FieldError]:
    """Find aliases that cannot be names, and those that lead back to themselves: each circle once, with its chain.

    Args:
        stated: `[models.aliases]`.
        default: `models.default`.
    """
    unnamable = (
        f"{cut(alias)!r}: must be of 1 to 128 characters without spaces" for alias in stated if not _is_name(alias)
    )
    messages = [*unnamable, *_circles(_targets(stated, default))]
    return [FieldError(field="models.aliases", message=message) for message in messages]


def _is_name(alias: str) -> bool:
    return _ALIAS.fullmatch(alias) is not None


def _circles(targets: Mapping[str, str]) -> Iterator[str]:
    circles: dict[frozenset[str], list[str]] = {}
    for name in targets:
        if circle := _circle(name, targets):
            circles.setdefault(frozenset(circle), circle)
    return map(_told, circles.values())


def _targets(stated: Mapping[str, str], default: str | None) -> dict[str, str]:
    # A default model that has one of the usual names itself, maybe for the sake of a client, needs no alias, and is no circle.
    itself = (default, DEFAULT)
    every = {DEFAULT: default, **USUAL_ALIASES, **stated}
    return {alias: target for alias, target in every.items() if target and (alias, target) != itself}


def _circle(name: str, targets: Mapping[str, str]) -> list[str]:
    """Return the names from `name` back to itself; none if it leads elsewhere."""
    passed = [name]
    while (target := targets.get(passed[-1])) is not None:
        if target == name:
            return passed
        if target in passed:
            return []  # a circle further on, which its own members report
        passed.append(target)
    return []


def _told(circle: Iterable[str]) -> str:
    names = list(circle)
    arrows = " -> ".join(repr(name) for name in (*names, names[0]))
    from_default = f" ({DEFAULT!r} is models.default)" if DEFAULT in names else ""
    return f"lead in a circle: {arrows}{from_default}; one of them must name a model"
