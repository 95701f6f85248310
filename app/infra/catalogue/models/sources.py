"""The folders and repositories that models come from, and which of their models gets which name. Worker threads only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ....domain.models.aliases import Aliases
from ....domain.models.spec import HubModel, ModelOverrides, ModelSpec
from ....logs import get_logger
from ..fingerprint import settled_stamp
from ..names import Claim, Names
from ..scan import Candidate, SearchedFolder, find_candidates, searched_folders, told_apart
from .hub_models import describe_repository
from .local_models import describe
from .local_overrides import LocalOverrides, nearest
from .presets import lone_sidecars, presets

_log = get_logger(__name__)


@dataclass(slots=True)
class _Place:
    """One searched folder of a models folder, and what lies in it."""

    folder: SearchedFolder
    directory: Path
    stamp: str | None
    """Taken before the folder was read, so that a change during the read shows later."""
    candidates: list[Candidate] = field(default_factory=list[Candidate])
    sidecars: list[tuple[Path, str | None]] = field(default_factory=list[tuple[Path, str | None]])
    """Sidecars without weights beside them, each with its stamp: whether one is a preset is in its text."""

    @property
    def named(self) -> Sequence[Candidate]:
        """The candidates and presets; one of that very name before those whose names were made safe."""
        every = (*self.candidates, *presets(self.folder, (path for path, _ in self.sidecars)))
        return sorted(every, key=lambda candidate: candidate.name != candidate.stem)

    @property
    def watched(self) -> Sequence[tuple[Path, str | None]]:
        """The paths whose change may change a name."""
        return ((self.folder.path, self.stamp), *self.sidecars)


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
        aliases: Aliases,
    ) -> None:
        self._directories = tuple(directories)
        self._builtin = builtin
        self._overrides = overrides
        self._hub = tuple(hub)
        self._hub_cache = hub_cache
        self._aliases = aliases
        self._logged: set[tuple[str, ...]] = set()

    def names(self) -> Names[ModelSpec]:
        """Read the folders and decide which model gets which name."""
        places = [
            _Place(folder, directory, settled_stamp(folder.path))
            for directory in self._directories
            for folder in searched_folders(directory)
        ]
        for place in places:
            place.candidates = list(self._candidates(place.folder))
            place.sidecars = [(path, settled_stamp(path)) for path in lone_sidecars(place.folder, place.candidates)]
        winners: dict[str, Claim[ModelSpec]] = {}
        for claim in self._claims(places):
            winner = winners.setdefault(claim.name, claim)
            if winner is not claim:
                winners[claim.name] = replace(winner, hides=(*winner.hides, claim.title))
                self._log_once(_log.warning, "model_hidden", model=claim.name, hidden=claim.origin, by=winner.origin)
        self._warn_about_aliases(winners)
        return Names(
            claims=winners,
            folders=tuple(path for place in places for path, _ in place.watched),
            stamps=tuple(stamp for place in places for _, stamp in place.watched),
            aliases=self._aliases.resolved(winners),
        )

    def may_have_changed(self, names: Names[ModelSpec]) -> bool:
        """Tell whether the folders may hold other names than these; costs one stat a folder or lone sidecar."""
        return None in names.stamps or names.stamps != tuple(map(settled_stamp, names.folders))

    def _claims(self, places: Sequence["_Place"]) -> Iterator[Claim[ModelSpec]]:
        """Yield the strongest claims first."""
        found = [(candidate, place.directory) for place in places for candidate in place.named]
        candidates = list(told_apart([candidate for candidate, _ in found]))
        stated = LocalOverrides(self._overrides, candidates)
        self._warn_of_tables_without_model(stated, [candidate.name for candidate in candidates])
        for candidate, (_, directory) in zip(candidates, found, strict=True):
            yield self._local_claim(candidate, stated.of(candidate), builtin=directory == self._builtin)
        for model in self._hub:
            yield self._hub_claim(model)

    def _candidates(self, folder: SearchedFolder) -> Sequence[Candidate]:
        try:
            return find_candidates(folder)
        except FileNotFoundError:
            hint = "Make it and put models there, or set models.directory to another folder."
            self._log_once(_log.info, "models_directory_missing", directory=str(folder.path), hint=hint)
            return ()
        except OSError as error:
            self._log_once(
                _log.warning, "models_directory_unreadable", directory=str(folder.path), reason=error.strerror
            )
            return ()

    def _local_claim(self, candidate: Candidate, stated: ModelOverrides, *, builtin: bool) -> Claim[ModelSpec]:
        return Claim(
            name=candidate.name,
            origin=str(candidate.path),
            title=f"{candidate.path.name!r} in the folder {candidate.path.parent.name!r}",
            describe=lambda: describe(candidate, stated, builtin=builtin),
        )

    def _hub_claim(self, model: HubModel) -> Claim[ModelSpec]:
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

    def _warn_about_aliases(self, claims: Mapping[str, Claim[ModelSpec]]) -> None:
        hint = "see models.aliases in the settings"
        for alias in self._aliases.shadowed(claims):
            self._log_once(_log.warning, "alias_hidden", alias=alias, by=claims[alias].origin, hint=hint)
        for missing, aliases in self._aliases.unknown(claims).items():
            self._log_once(_log.warning, "alias_of_unknown_model", aliases=aliases, model=missing, hint=hint)

    def _log_once(self, log: Callable[..., object], event: str, **facts: object) -> None:
        key = (event, *(str(value) for value in facts.values()))
        if key not in self._logged:
            self._logged.add(key)
            log(event, **facts)
