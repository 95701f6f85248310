"""Which `[models.local.<name>]` table of the settings is about which local model."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from ....domain.models.spec import ModelOverrides
from ..scan import Candidate


class LocalOverrides:
    """Finds the table of each model, and the tables of none.

    A table is named as the model is in URLs, as its file, or as its file without suffix. Names that differ in case, or in
    characters that no variable of the environment can hold, match if no model has exactly the name of the table.
    """

    def __init__(self, stated: Mapping[str, ModelOverrides], candidates: Sequence[Candidate]) -> None:
        exact = {name for candidate in candidates for name in _names(candidate)}
        self._stated = stated
        self._by_key = {_key(name): name for name in stated if name not in exact}
        known = {_key(name) for name in exact}
        self.without_model = tuple(name for key, name in self._by_key.items() if key not in known)
        """Names of the tables that are about no model."""

    def of(self, candidate: Candidate) -> ModelOverrides:
        """Return what the settings say of a model."""
        names = _names(candidate)
        matching = [name for name in names if name in self._stated]
        matching += [self._by_key[_key(name)] for name in names if _key(name) in self._by_key]
        return self._stated[matching[0]] if matching else ModelOverrides()


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three of the known names that may have been meant."""
    by_key = {_key(each): each for each in known}
    return [by_key[key] for key in difflib.get_close_matches(_key(name), by_key, n=3, cutoff=0.5)]


def _names(candidate: Candidate) -> tuple[str, str, str]:
    return candidate.name, candidate.stem, candidate.path.name


def _key(name: str) -> str:
    """Return a name as it is compared: without case, and with `_` for what may not stand in a variable's name."""
    return re.sub(r"[^\w]+", "_", name.casefold())
