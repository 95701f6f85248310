"""The folders and repositories that models come from, and which of their models gets which name. Worker threads only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from ...domain.models.spec import HubModel, ModelOverrides
from .fingerprint import CatalogueEntry, settled_stamp
from .hub_models import describe_repository
from .local_models import describe
from .local_overrides import LocalOverrides, nearest
from .scan import Candidate, find_candidates

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A file, a folder or a repository that is to be listed under a name."""

    name: str
    origin: str
    """Path, or `hub:<name>`; unique."""
    title: str
    """Description for clients, without the server's paths."""
    describe: Callable[[], CatalogueEntry]
    """Reads the files."""
    hides: tuple[str, ...] = ()
    """Titles of the weaker claims to the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Winners of the names at one moment."""

    claims: Mapping[str, Claim]
    stamps: tuple[str | None, ...]
    """Stamps of the folders, taken before they were read, so that a change during the read shows later."""


class ModelSources:
    """Reads names only; the files of a model are read by its claim.

    If two models claim one name, the one in the earlier folder gets it, and a local model gets it before a repository, because
    it costs no download. The log and the winner's evidence name the hidden one.
    """

    def __init__(
        self,
        *,
        directories: Sequence[Path],
        builtin: Path | None,
        overrides: Mapping[str, ModelOverrides],
        hub: Sequence[HubModel],
        hub_cache: Path | None,
    ) -> None:
        self._directories = tuple(directories)
        self._builtin = builtin
        self._overrides = overrides
        self._hub = tuple(hub)
        self._hub_cache = hub_cache
        self._logged: set[tuple[str, ...]] = set()

    def names(self) -> Names:
        """Read the folders and decide which model gets which name."""
        stamps = self._stamps()
        winners: dict[str, Claim] = {}
        for claim in self._claims():
            winner = winners.setdefault(claim.name, claim)
            if winner is not claim:
                winners[claim.name] = replace(winner, hides=(*winner.hides, claim.title))
                self._log_once(_log.warning, "model_hidden", model=claim.name, hidden=claim.origin, by=winner.origin)
        return Names(claims=winners, stamps=stamps)

    def may_have_changed(self, names: Names) -> bool:
        """Tell whether the folders may hold other names than these; costs one stat a folder."""
        return None in names.stamps or names.stamps != self._stamps()

    def _stamps(self) -> tuple[str | None, ...]:
        return tuple(map(settled_stamp, self._directories))

    def _claims(self) -> Iterator[Claim]:
        """Yield the strongest claims first."""
        found = [(directory, self._candidates(directory)) for directory in self._directories]
        stated = LocalOverrides(self._overrides, [candidate for _, inside in found for candidate in inside])
        self._warn_of_tables_without_model(stated, [candidate.name for _, inside in found for candidate in inside])
        for directory, inside in found:
            for candidate in inside:
                yield self._local_claim(candidate, stated.of(candidate), builtin=directory == self._builtin)
        for model in self._hub:
            yield self._hub_claim(model)

    def _candidates(self, directory: Path) -> Sequence[Candidate]:
        try:
            return find_candidates(directory)
        except FileNotFoundError:
            hint = "Make it and put models there, or set models.directory to another folder."
            self._log_once(_log.info, "models_directory_missing", directory=str(directory), hint=hint)
            return ()
        except OSError as error:
            self._log_once(_log.warning, "models_directory_unreadable", directory=str(directory), reason=error.strerror)
            return ()

    def _local_claim(self, candidate: Candidate, stated: ModelOverrides, *, builtin: bool) -> Claim:
        return Claim(
            name=candidate.name,
            origin=str(candidate.path),
            title=f"{candidate.path.name!r} in the folder {candidate.path.parent.name!r}",
            describe=lambda: describe(candidate, stated, builtin=builtin),
        )

    def _hub_claim(self, model: HubModel) -> Claim:
        return Claim(
            name=model.name,
            origin=f"hub:{model.name}",
            title=f"the repository {model.repo} of the settings",
            describe=lambda: describe_repository(model, self._hub_cache),
        )

    def _warn_of_tables_without_model(self, stated: LocalOverrides, known: Sequence[str]) -> None:
        for name in stated.without_model:
            self._log_once(_log.warning, "unknown_local_model", name=name, hint=self._meant(name, known))

    def _meant(self, name: str, known: Sequence[str]) -> str:
        if any(model.name == name for model in self._hub):
            return "Keys of a Hub model stand in its [[models.hub]] entry."
        near = nearest(name, known)
        return (
            f"Did you mean {' or '.join(map(repr, near))}?" if near else f"Local models: {', '.join(known) or 'none'}."
        )

    def _log_once(self, log: Callable[..., object], event: str, **facts: object) -> None:
        key = (event, *(str(value) for value in facts.values()))
        if key not in self._logged:
            self._logged.add(key)
            log(event, **facts)
