"""Health checks from a process of its own, whose clock no other client delays: `python -m tests.load.health PORT`.

Prints the seconds of each check, on a connection of its own, or the error, a line each.
"""

import http.client
import sys
import time

_EVERY_S = 0.25
_TIMEOUT_S = 5


def main() -> None:
    """Check until the process is ended."""
    while True:
        sys.stdout.write(f"{check(int(sys.argv[1]))}\n")
        sys.stdout.flush()
        time.sleep(_EVERY_S)


def check(port: int) -> str:
    """Check once."""
    begun = time.perf_counter()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
        connection.close()
    except OSError as error:
        return repr(error)
    return f"{time.perf_counter() - begun:.4f}" if status == 200 else f"status {status}"


if __name__ == "__main__":
    main()
