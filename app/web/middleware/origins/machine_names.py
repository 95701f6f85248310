"""Names under which this machine is reached in its own network."""

import socket

_FROM_CONTAINERS = ("host.docker.internal", "host.containers.internal")
"""Names that Docker and Podman give the machine, inside its containers; no name in `.internal` can be registered."""


def machine_names() -> tuple[str, ...]:
    """Return the machine's host name, as it is and shortened, and with `.local` (multicast DNS), and its names in containers.

    No page on the internet can have one of them as its own name, which DNS rebinding needs.
    """
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    own = (name, short, f"{short}.local") if short else ()
    return tuple(dict.fromkeys((*own, *_FROM_CONTAINERS)))
