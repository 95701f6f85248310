"""Describes the files of VAEs as entries of the catalogue."""

from ....domain.families.registry import read_vae
from ....domain.models.vaes import VaeName, VaeSpec
from ..fingerprint import CatalogueEntry
from ..scan import Candidate
from .local_additions import read_addition


def describe_vae(candidate: Candidate, builtin: bool = False) -> CatalogueEntry[VaeSpec]:
    """Describe the file of a VAE; the entry of a broken one says why. Never raises for the content of files.

    Args:
        candidate: the file.
        builtin: whether it ships with the package.
    """
    found = read_addition(candidate, read_vae)
    spec = VaeSpec(
        name=VaeName(candidate.name),
        path=candidate.path,
        nbytes=found.nbytes,
        numbers=found.numbers,
        version=found.version,
        reading=found.reading,
        unusable=found.unusable,
        builtin=builtin,
    )
    return CatalogueEntry(spec=spec, watched=found.watched, stamp=found.version)
