"""`litestar-diffusion generate`: pictures without a server."""

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from ...domain.generator import Generated, Timings
from ...domain.models.aliases import DEFAULT
from ...domain.requests.parameters import GenerationParameters
from ...settings import Settings
from ..options import settings_option
from ..output import Output
from ..parameters import parameters_of, with_parameters
from ..progress import progress_shown
from ..source import Source, source_of


@click.command()
@click.argument("prompt")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(path_type=Path),
    default=Path("out.png"),
    show_default=True,
    help="File; `-` writes to standard output. With --n above 1, each image gets its seed in its name.",
)
@click.option("-m", "--model", help="Name of a model. Default: models.default of the settings.")
@click.option("-f", "--force", is_flag=True, help="Overwrite files.")
@with_parameters
@settings_option
def generate(
    prompt: str, path: Path, model: str | None, force: bool, settings_file: Path | None = None, **stated: Any
) -> None:
    """Make pictures of PROMPT and write them to files."""
    source = source_of(settings_file)
    output = Output(path=path, force=force)
    given = {name: text for name, text in stated.items() if text not in (None, ())}
    if "output_format" not in given:
        given["output_format"] = output.format()
    model = model or source.settings.models.default or "demo"
    parameters = parameters_of({"prompt": prompt, **given})
    output.check(parameters)
    generated = asyncio.run(_generated(source, model, parameters))
    _deliver(generated, output)


async def _generated(source: Source, model: str, parameters: GenerationParameters) -> Generated:
    if source.standalone:
        prepare_process(source.settings)
    services = source.build(settings_of_command(source.settings))
    await services.generator.check(model, parameters)  # refuses before torch is imported
    async with services.running():
        with progress_shown() as on_progress:
            return await services.generator.generate(model, parameters, on_progress=on_progress)


def prepare_process(settings: Settings) -> None:
    """Configure memory and logging of a process that makes pictures without a server."""
    from ...infra.device.malloc import keep_freed_memory  # here, because `--help` need not wait for it
    from ...infra.telemetry.logs.logging import configure_logging

    keep_freed_memory()
    configure_logging(settings.log.format, "error")  # warnings come with the result


def settings_of_command(settings: Settings) -> Settings:
    """Load no model but the one that is asked for, and leave jobs and the lock of the device to servers.

    The aliases of the default model stay.
    """
    models, jobs = settings.models, settings.jobs
    aliases = {DEFAULT: models.default or "", **models.aliases}
    return msgspec.structs.replace(
        settings,
        models=msgspec.structs.replace(models, default=None, aliases=aliases),
        jobs=msgspec.structs.replace(jobs, directory="", database=None),
    )


def _deliver(generated: Generated, output: Output) -> None:
    for image in generated.images:
        name = output.write(image, several=len(generated.images) > 1)
        click.echo(f"{name}  {image.width} x {image.height}  seed {image.seed}", err=True)
    click.echo(_in_words(generated.timings), err=True)
    for warning in generated.warnings:
        click.echo(f"warning: {warning}", err=True)


def _in_words(timings: Timings) -> str:
    """List the phases and their durations; most of the start is the import of torch."""
    parts = {
        "start": timings.start_s,
        "load": timings.load_s,
        "encode": timings.encode_s,
        "denoise": timings.denoise_s,
        "decode": timings.decode_s,
        "write": timings.write_s,
    }
    return f"{timings.total_s:.1f} s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
