"""Image generation inside another Litestar application.

    uv run uvicorn examples.embedded:app
    curl http://127.0.0.1:8000/cards/red/circle > card.png

The plugin's own routes stand below `/images`; `card` is a handler of the application that uses the same pool.
"""

from litestar import Litestar, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from litestar_diffusion import (
    DiffusionConfig,
    DiffusionPlugin,
    GenerationParameters,
    ImageGenerator,
    ModelPool,
)


@get("/cards/{colour:str}/{shape:str}")
async def card(
    colour: FromPath[str],
    shape: FromPath[str],
    image_generator: NamedDependency[ImageGenerator],
    model_pool: NamedDependency[ModelPool],
) -> Response[bytes]:
    """A picture card."""
    parameters = GenerationParameters(prompt=f"a {colour} {shape} on a white background", seed=1)
    generated = await image_generator.generate("demo", parameters)
    memory = f"{model_pool.stats().device_nbytes}"
    return Response(generated.images[0].data, media_type="image/png", headers={"x-pool-bytes": memory})


app = Litestar(
    route_handlers=[card],
    plugins=[DiffusionPlugin(DiffusionConfig.from_file(path="/images"))],
)
