"""Recognises the file of an adapter for SDXL from its header."""

from ....models.adapters import AdapterReading
from ...reading import CheckpointFile
from ..detection import NAME
from ..tensors.key_tensors import TITLES
from .algorithms import MAGNITUDES
from .contents import Contents, read_contents
from .fit import fit_evidence
from .layers import ADAPTED
from .stated_alphas import read_stated_alphas
from .words import stated_alpha, title_of, trigger_words


def read_adapter(file: CheckpointFile) -> AdapterReading | None:
    """Recognise the file of an adapter; see `Family.read_adapter`."""
    contents = read_contents(file)
    if contents is None:
        return None
    fits = fit_evidence(contents.layers)
    layers = contents.layers
    stated = read_stated_alphas(file.metadata, file.read_config).numbers or _of_kohya(file)
    components = tuple(name for name in ADAPTED if any(layer.component == name for layer in layers))
    return AdapterReading(
        family=NAME,
        format=contents.format,
        algorithms=tuple(dict.fromkeys(layer.form.algorithm for layer in layers)),
        components=components,
        layers=len(layers),
        dora=any(role in layer.keys for layer in layers for role in MAGNITUDES),
        ranks=tuple(sorted({layer.form.rank for layer in layers if layer.form.rank is not None})),
        alphas=stated,
        trigger_words=trigger_words(file.metadata),
        title=title_of(file.metadata),
        evidence=(fits, *_counts(contents), *_alphas(contents, stated), *_unread(contents)),
    )


def _of_kohya(file: CheckpointFile) -> tuple[float, ...]:
    alpha = stated_alpha(file.metadata)
    return () if alpha is None else (alpha,)


def _counts(contents: Contents) -> list[str]:
    """Say how many layers of each network are changed, and in which naming."""
    counts = [(sum(layer.component == name for layer in contents.layers), TITLES[name]) for name in ADAPTED]
    told = [f"{count} of the {title}" for count, title in counts if count]
    return [f"changes layers: {', '.join(told)}", f"keys as {contents.format} writes them"]


def _alphas(contents: Contents, stated: tuple[float, ...]) -> list[str]:
    factorised = [layer for layer in contents.layers if layer.form.rank is not None]
    if stated or not factorised or any("alpha" in layer.keys for layer in factorised):
        return []
    return ["no alpha is stated, so each is taken as the rank"]


def _unread(contents: Contents) -> list[str]:
    if not contents.unread:
        return []
    return [f"{len(contents.unread)} tensors of textual inversions (bundle_emb) are in the file and are not used"]
