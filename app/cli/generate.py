"""`litestar-diffusion generate`: pictures without a server."""

import asyncio
import typing
from pathlib import Path
from typing import Any

import click
import msgspec

from ..domain.generation import GenerationParameters
from ..domain.validation import convert_all
from ..settings import load_settings
from .options import settings_option
from .progress import progress_shown

if typing.TYPE_CHECKING:
    from ..domain.generator import Generated, GeneratedImage
    from ..settings import Settings

_SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def _with_parameters(function: Any) -> Any:
    """An option for each field of GenerationParameters, so that the command line can say all that the API can."""
    for field in reversed(msgspec.structs.fields(GenerationParameters)):
        if field.name != "prompt":
            name = f"--{field.name.replace('_', '-')}"
            function: Any = click.option(name, field.name, help=_description(field.type), metavar=_metavar(field.type))(
                function
            )
    return function


def _description(declared: Any) -> str:
    for part in (declared, *typing.get_args(declared)):
        for note in getattr(part, "__metadata__", ()):
            if isinstance(note, msgspec.Meta) and note.description:
                return note.description
    choices = [str(value) for value in typing.get_args(declared)]
    return f"One of {', '.join(choices)}. Default: by the suffix of the output." if choices else ""


def _metavar(declared: Any) -> str:
    text = str(declared)
    return "NUMBER" if "int" in text or "float" in text else "TEXT"


@click.command()
@click.argument("prompt")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("out.png"), show_default=True,
              help="File; `-` writes to standard output. With -n above 1 each image gets its seed in its name.")  # fmt: skip
@click.option("-m", "--model", help="Name of a model. [default: models.default of the settings]")
@click.option("-f", "--force", is_flag=True, help="Overwrite files.")
@_with_parameters
@settings_option
def generate(
    prompt: str, output: Path, model: str | None, force: bool, settings_file: Path | None, **stated: str | None
) -> None:
    """Make pictures of PROMPT and write them to files."""
    settings = load_settings(settings_file)
    raw = {key: value for key, value in stated.items() if value is not None}
    raw.setdefault("output_format", _SUFFIXES.get(output.suffix.lower(), "png"))
    parameters = _checked({"prompt": prompt, **raw})
    if parameters.n == 1 and str(output) != "-" and output.exists() and not force:
        raise click.UsageError(f"{output} exists. Give another name with -o, or overwrite it with --force.")
    generated = asyncio.run(_run(settings, model or settings.models.default or "demo", parameters))
    for image in generated.images:
        _write(image, output, several=parameters.n > 1)
    for warning in generated.warnings:
        click.echo(f"warning: {warning}", err=True)


def _checked(raw: dict[str, Any]) -> GenerationParameters:
    parameters, errors = convert_all(raw, GenerationParameters, strict=False)
    if parameters is None:
        raise click.UsageError("\n".join(f"--{error.field.replace('_', '-')}: {error.message}" for error in errors))
    return parameters


async def _run(settings: "Settings", model: str, parameters: GenerationParameters) -> "Generated":
    from ..bootstrap import build  # here, because `--help` need not wait for it
    from ..infra.logs import configure_logging

    configure_logging(settings.log.format, "warning")
    services = build(msgspec.structs.replace(settings, models=msgspec.structs.replace(settings.models, default=None)))
    async with services.running():
        with progress_shown() as on_progress:
            return await services.generator.generate(model, parameters, on_progress=on_progress)


def _write(image: "GeneratedImage", output: Path, *, several: bool) -> None:
    if str(output) == "-":
        click.get_binary_stream("stdout").write(image.data)
        return
    path = output.with_stem(f"{output.stem}-{image.seed}") if several else output
    path.write_bytes(image.data)
    click.echo(f"{path}  {image.width} x {image.height}  seed {image.seed}", err=True)
