"""What a request adds to its model: adapters that it, its prompt or the model's sidecar names, a VAE, an upscaler."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..errors import FieldError, InvalidRequest, UnusableAdapter, UnusableVae
from ..families.registry import family_named
from ..models.adapters import MAX_WEIGHT, AdapterChoice, AdapterSpec, AdapterUse
from ..models.assets import key_of, unusable
from ..models.catalogue import Catalogues
from ..models.spec import ModelSpec
from ..models.vaes import VaeSpec, VaeUse
from .hires import upscaler_of
from .parameters import GenerationParameters, Limits
from .prompts.adapter_tags import read_tags

OWN_VAE = "model"
"""Name that means the model's own VAE, although its sidecar names another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Additions:
    """Catalogue entries of what a request names."""

    adapters: Mapping[str, AdapterSpec] = field(default_factory=dict[str, AdapterSpec])
    """By the names as they were written."""
    vae: VaeSpec | None = None
    upscaler: ModelSpec | None = None
    """Of `hires.upscaler`, if it is a file."""


NO_ADDITIONS = Additions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What is added to a model for a request, resolved."""

    adapters: tuple[AdapterUse, ...]
    unused: tuple[AdapterChoice, ...]
    """Adapters of the model's sidecar that the request turns off."""
    vae: VaeUse | None
    own_vae: bool
    """Whether the request keeps the model's own VAE, although its sidecar names another one."""
    warnings: tuple[str, ...]


async def find_additions(
    parameters: GenerationParameters, spec: ModelSpec, limits: Limits, catalogues: Catalogues
) -> Additions:
    """Look up what a request names.

    Raises:
        UnknownAdapter, UnknownVae: there is no such entry.
        UnusableAdapter, UnusableVae: its file cannot be used, or not with this model.
        InvalidRequest: too many are named, a tag cannot be read, or there is no such upscaler.
    """
    if errors := list(addition_errors(parameters, spec, limits)):
        raise InvalidRequest(errors)
    names = dict.fromkeys(choice.name for choice in (*_own(spec), *_requested(parameters)))
    adapters = {name: await catalogues.adapters.find(name) for name in names}
    named = vae_name(parameters, spec)
    vae = None if named is None else await catalogues.vaes.find(named)
    for entry in (*adapters.values(), *([vae] if vae is not None else [])):
        refuse_unfit(entry, spec)
    upscaler = await upscaler_of(parameters.hires, catalogues.upscalers)
    return Additions(adapters=adapters, vae=vae, upscaler=upscaler)


def refuse_unfit(entry: AdapterSpec | VaeSpec, spec: ModelSpec) -> None:
    """Refuse an entry that cannot be used, or not with a model.

    Raises:
        UnusableAdapter, UnusableVae: it cannot.
    """
    if entry.unusable is not None or entry.reading is None:
        raise unusable(key_of(entry), entry.unusable or "its file has not been read")
    family = spec.traits.family
    if family and entry.reading.family != family:
        kind = UnusableAdapter if isinstance(entry, AdapterSpec) else UnusableVae
        wanted, found = family_named(entry.reading.family).title, family_named(family).title
        raise kind(entry.name, f"it is for {wanted} models, and {spec.name!r} is a {found} model.")


def addition_errors(parameters: GenerationParameters, spec: ModelSpec, limits: Limits) -> Iterator[FieldError]:
    """Find tags that cannot be read, sums of weights that are too large, and a number of adapters beyond the limit."""
    for name in ("prompt", "prompt_2"):
        for problem in read_tags(getattr(parameters, name) or "").problems:
            yield FieldError(field=name, message=problem)
    uses = _summed(_requested(parameters))
    for choice in uses:
        if max(abs(choice.weight), abs(_text_weight(choice))) > MAX_WEIGHT:
            yield FieldError(
                field="adapters",
                message=f"the weights of {choice.name!r} add up to more than {MAX_WEIGHT:g} in all places where it is named",
            )
    named = {choice.name.casefold() for choice in (*_own(spec), *uses)}
    if len(named) > limits.max_adapters:
        yield FieldError(
            field="adapters",
            message=f"must be at most {limits.max_adapters} (limits.max_adapters), those of the prompt and of the model's "
            f"sidecar included, got {len(named)}",
        )


def added_to(parameters: GenerationParameters, spec: ModelSpec, additions: Additions) -> Added:
    """Put together what is added to a model: adapters of its sidecar, except those that the request names, and the request's."""
    stated, own = _by_name(_requested(parameters), additions), _by_name(_own(spec), additions)
    summed = {name: _sum(choices) for name, choices in stated.items()}
    every = {**{name: _sum(choices) for name, choices in own.items()}, **summed}
    specs = {str(entry.name): entry for entry in additions.adapters.values()}
    uses = [_use(specs[name], choice) for name, choice in every.items()]
    return Added(
        adapters=tuple(use for use in uses if use.weight or use.text_weight),
        unused=tuple(
            AdapterChoice(name=use.name, weight=0.0, version=use.version)
            for use in uses
            if use.name in own and not (use.weight or use.text_weight)
        ),
        vae=None if additions.vae is None else VaeUse(name=additions.vae.name, version=additions.vae.version),
        own_vae=additions.vae is None and spec.overrides.vae not in (None, OWN_VAE),
        warnings=tuple(_warnings(parameters, stated, additions)),
    )


def vae_name(parameters: GenerationParameters, spec: ModelSpec) -> str | None:
    """Return the name of the VAE that replaces the model's own; None if none does."""
    named = parameters.vae if parameters.vae is not None else spec.overrides.vae
    return None if named == OWN_VAE else named


def _own(spec: ModelSpec) -> tuple[AdapterChoice, ...]:
    return tuple(spec.overrides.adapters or ())


def _requested(parameters: GenerationParameters) -> tuple[AdapterChoice, ...]:
    """List the adapters of a request: its field's, its prompt's, and those that the second prompt alone names."""
    first = (*(parameters.adapters or ()), *read_tags(parameters.prompt).adapters)
    named = {choice.name.casefold() for choice in first}
    second = read_tags(parameters.prompt_2 or "").adapters
    return (*first, *(choice for choice in second if choice.name.casefold() not in named))


def _summed(choices: Iterable[AdapterChoice]) -> list[AdapterChoice]:
    grouped: dict[str, list[AdapterChoice]] = {}
    for choice in choices:
        grouped.setdefault(choice.name.casefold(), []).append(choice)
    return [_sum(each) for each in grouped.values()]


def _by_name(choices: Iterable[AdapterChoice], additions: Additions) -> dict[str, list[AdapterChoice]]:
    """Group choices by the names of their entries."""
    grouped: dict[str, list[AdapterChoice]] = {}
    for choice in choices:
        grouped.setdefault(additions.adapters[choice.name].name, []).append(choice)
    return grouped


def _sum(choices: list[AdapterChoice]) -> AdapterChoice:
    return AdapterChoice(
        name=choices[0].name,
        weight=round(sum(choice.weight for choice in choices), 6),
        text_weight=round(sum(map(_text_weight, choices)), 6),
    )


def _text_weight(choice: AdapterChoice) -> float:
    return choice.weight if choice.text_weight is None else choice.text_weight


def _use(spec: AdapterSpec, choice: AdapterChoice) -> AdapterUse:
    return AdapterUse(name=spec.name, version=spec.version, weight=choice.weight, text_weight=_text_weight(choice))


def _warnings(
    parameters: GenerationParameters, stated: Mapping[str, list[AdapterChoice]], additions: Additions
) -> Iterator[str]:
    for name in ("prompt", "prompt_2"):
        yield from (f"{name} {sentence}" for sentence in read_tags(getattr(parameters, name) or "").ignored)
    specs = {str(entry.name): entry for entry in additions.adapters.values()}
    for name, choices in stated.items():
        if len(choices) > 1:
            yield f"Adapter {name!r} is named {len(choices)} times: its weights were added up."
        for version in {choice.version for choice in choices} - {None, specs[name].version}:
            yield (
                f"The file of adapter {name!r} has changed since version {version!r}, it is {specs[name].version!r} now: the "
                "image may differ."
            )
    vae = additions.vae
    if vae is not None and parameters.vae_version not in (None, vae.version):
        yield (
            f"The file of VAE {vae.name!r} has changed since vae_version {parameters.vae_version!r}, it is {vae.version!r} "
            "now: the image may differ."
        )
