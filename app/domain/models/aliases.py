"""Aliases: other names of models, for clients that ask for a model of another service and cannot be told otherwise."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from ..errors import FieldError

DEFAULT = "default"
"""Alias of `models.default`."""
_FIXED_NAMES = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "dall-e-2", "dall-e-3")
USUAL_ALIASES: Mapping[str, str] = dict.fromkeys(_FIXED_NAMES, DEFAULT)
"""Names that clients of OpenAI's API fix; LibreChat and Open WebUI have no setting for them."""

AliasName = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f\x7f]{1,128}$")]
"""An alias may hold what a model's name may not, such as the `/` of `owner/model`; paths cannot show such a name."""


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


def circular(stated: Mapping[str, str], default: str | None) -> list[FieldError]:
    """Find aliases that lead back to themselves, each circle once, with its chain.

    Args:
        stated: `[models.aliases]`.
        default: `models.default`.
    """
    targets = _targets(stated, default)
    circles: dict[frozenset[str], list[str]] = {}
    for name in targets:
        if circle := _circle(name, targets):
            circles.setdefault(frozenset(circle), circle)
    return [FieldError(field="models.aliases", message=_told(circle)) for circle in circles.values()]


def _targets(stated: Mapping[str, str], default: str | None) -> dict[str, str]:
    implied = {DEFAULT: default or ""}
    return {alias: target for alias, target in {**implied, **USUAL_ALIASES, **stated}.items() if target}


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
