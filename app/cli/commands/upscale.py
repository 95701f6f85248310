"""`litestar-diffusion upscale`: a larger picture without a server."""

import asyncio
from pathlib import Path

import click

from ...domain.errors import InvalidRequest
from ...domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ...domain.upscaling import Upscaled
from ...domain.validation import convert_all
from ..options import settings_option
from ..output import Output
from ..progress import progress_shown
from ..source import Source, source_of
from .generate import prepare_process, settings_of_command


@click.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o", "--output", "path", type=click.Path(path_type=Path), required=True, help="File; `-`: standard output."
)
@click.option("--scale", metavar="NUMBER", help="Factor of both sides. Default: the upscaler's own, 2 for lanczos.")
@click.option("--width", metavar="INTEGER", help="In pixels, instead of --scale; alone it keeps the shape.")
@click.option("--height", metavar="INTEGER", help="As --width.")
@click.option("--resize", metavar="[crop|pad|stretch]", help="If --width and --height have another shape.")
@click.option("--upscaler", metavar="NAME", help="lanczos (default), or a file in models/upscalers/.")
@click.option("--output-format", metavar="[png|jpeg|webp]", help="Default: by the suffix of the output, else png.")
@click.option("--output-quality", metavar="INTEGER", help="For jpeg and webp; webp at 100 is lossless.")
@click.option("-f", "--force", is_flag=True, help="Overwrite files.")
@settings_option
def upscale(picture: Path, path: Path, force: bool, settings_file: Path | None = None, **stated: str | None) -> None:
    """Enlarge PICTURE, a PNG, JPEG, WebP or AVIF file."""
    source = source_of(settings_file)
    output = Output(path=path, force=force)
    given: dict[str, object] = {name: text for name, text in stated.items() if text is not None}
    given.setdefault("output_format", output.format())
    output.check_free()
    upscaled = asyncio.run(_upscaled(source, _parameters({"image": picture.read_bytes(), **given})))
    name = output.write(upscaled.image, several=False)
    click.echo(f"{name}  {upscaled.image.width} x {upscaled.image.height}", err=True)
    for warning in upscaled.warnings:
        click.echo(f"warning: {warning}", err=True)


def _parameters(given: dict[str, object]) -> UpscaleParameters:
    parameters, errors = convert_all(given, UpscaleParameters, strict=False)
    if parameters is None:
        raise InvalidRequest(errors)
    return parameters


async def _upscaled(source: Source, parameters: UpscaleParameters) -> Upscaled:
    if source.standalone:
        prepare_process(source.settings)
    services = source.build(settings_of_command(source.settings))
    async with services.running():
        with progress_shown() as on_progress:
            return await services.upscaler.upscale(parameters, on_progress=on_progress)
