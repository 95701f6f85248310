"""Several devices and machines, through Ray Serve: ingress replicas speak HTTP, workers own a device each.

`serve run litestar_diffusion.cluster:app`, or `litestar-diffusion serve --ray`. Needs the extra `ray`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ray.serve import Application


def app(arguments: dict[str, str]) -> "Application":
    """Build the Ray Serve application; Serve calls it with the `args` of its config file.

    Args:
        arguments: `settings`: path of the settings file; without it, the usual one.
    """
    from .application import application, settings_of  # here, because Ray takes seconds to import

    return application(settings_of(arguments))
