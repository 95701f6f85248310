"""The folders and repositories that models come from, and which of their models gets which name. Worker threads only."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...domain.models.aliases import Aliases
from ...domain.models.spec import HubModel, ModelOverrides
from ...logs import get_logger
from .fingerprint import CatalogueEntry, settled_stamp
from .hub_models import describe_repository
from .local_models import Describe, describe
from .local_overrides import LocalOverrides, nearest
from .scan import Candidate, SearchedFolder, find_candidates, searched_folders

_log = get_logger(__name__)


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
    folders: tuple[Path, ...] = ()
    """The folders that were searched."""
    stamps: tuple[str | None, ...]
    """Stamps of the folders, taken before they were read, so that a change during the read shows later."""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of claims by alias."""

    def claim(self, name: str) -> Claim | None:
        """Return the claim of a name or an alias."""
        return self.claims.get(self.aliases.get(name, name))

    def aliases_of(self, name: str) -> tuple[str, ...]:
        """Return the aliases of a claim."""
        return tuple(alias for alias, model in self.aliases.items() if model == name)


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
        describe_file: Describe = describe,
    ) -> None:
        self._describe_file = describe_file
        self._directories = tuple(directories)
        self._builtin = builtin
        self._overrides = overrides
        self._hub = tuple(hub)
        self._hub_cache = hub_cache
        self._aliases = aliases
        self._logged: set[tuple[str, ...]] = set()

    def names(self) -> Names:
        """Read the folders and decide which model gets which name."""
        folders = tuple(
            (folder, settled_stamp(folder.path), directory)
            for directory in self._directories
            for folder in searched_folders(directory)
        )
        winners: dict[str, Claim] = {}
        for claim in self._claims([(folder, directory) for folder, _, directory in folders]):
            winner = winners.setdefault(claim.name, claim)
            if winner is not claim:
                winners[claim.name] = replace(winner, hides=(*winner.hides, claim.title))
                self._log_once(_log.warning, "model_hidden", model=claim.name, hidden=claim.origin, by=winner.origin)
        self._warn_about_aliases(winners)
        return Names(
            claims=winners,
            folders=tuple(folder.path for folder, _, _ in folders),
            stamps=tuple(stamp for _, stamp, _ in folders),
            aliases=self._aliases.resolved(winners),
        )

    def may_have_changed(self, names: Names) -> bool:
        """Tell whether the folders may hold other names than these; costs one stat a folder."""
        return None in names.stamps or names.stamps != tuple(map(settled_stamp, names.folders))

    def _claims(self, folders: Sequence[tuple[SearchedFolder, Path]]) -> Iterator[Claim]:
        """Yield the strongest claims first."""
        found = [(candidate, directory) for folder, directory in folders for candidate in self._named(folder)]
        candidates = list(_told_apart([candidate for candidate, _ in found]))
        stated = LocalOverrides(self._overrides, candidates)
        self._warn_of_tables_without_model(stated, [candidate.name for candidate in candidates])
        for candidate, (_, directory) in zip(candidates, found, strict=True):
            yield self._local_claim(candidate, stated.of(candidate), builtin=directory == self._builtin)
        for model in self._hub:
            yield self._hub_claim(model)

    def _named(self, folder: SearchedFolder) -> Sequence[Candidate]:
        """List a folder's candidates; one of that very name before those whose names were made safe."""
        return sorted(self._candidates(folder), key=lambda candidate: candidate.name != candidate.stem)

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

    def _local_claim(self, candidate: Candidate, stated: ModelOverrides, *, builtin: bool) -> Claim:
        return Claim(
            name=candidate.name,
            origin=str(candidate.path),
            title=f"{candidate.path.name!r} in the folder {candidate.path.parent.name!r}",
            describe=lambda: self._describe_file(candidate, stated, builtin=builtin),
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

    def _warn_about_aliases(self, claims: Mapping[str, Claim]) -> None:
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


def _told_apart(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Mark candidates whose names were made equal although their files are called differently."""
    names: dict[str, tuple[str, ...]] = {}
    for candidate in candidates:
        is_taken = names.setdefault(candidate.name, candidate.identity) != candidate.identity
        yield candidate.marked() if is_taken else candidate
