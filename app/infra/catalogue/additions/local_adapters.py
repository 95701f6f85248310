"""Describes the files of adapters as entries of the catalogue."""

from ....domain.families.registry import read_adapter
from ....domain.models.adapters import AdapterName, AdapterSpec
from ..fingerprint import CatalogueEntry
from ..scan import Candidate
from .local_additions import read_addition


def describe_adapter(candidate: Candidate, builtin: bool = False) -> CatalogueEntry[AdapterSpec]:
    """Describe the file of an adapter; the entry of a broken one says why. Never raises for the content of files.

    Args:
        candidate: the file.
        builtin: whether it ships with the package.
    """
    found = read_addition(candidate, read_adapter)
    spec = AdapterSpec(
        name=AdapterName(candidate.name),
        path=candidate.path,
        nbytes=found.nbytes,
        numbers=found.numbers,
        version=found.version,
        reading=found.reading,
        unusable=found.unusable,
        builtin=builtin,
    )
    return CatalogueEntry(spec=spec, watched=found.watched, stamp=found.version)
