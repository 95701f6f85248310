"""Names under which this machine is reached in its own network."""

import socket


def machine_names() -> tuple[str, ...]:
    """Return the machine's host name, as it is and shortened, and with `.local` (multicast DNS).

    No page of another machine can have one of them as its own name, which DNS rebinding needs.
    """
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return tuple(dict.fromkeys((name, short, f"{short}.local"))) if short else ()
