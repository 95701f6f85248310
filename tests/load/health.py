"""Health checks from a process of its own, whose clock no other client delays: `python -m tests.load.health PORT`.

Prints a line each: the seconds of a check, on a connection of its own, or the error; and the seconds of the same check of an idle
server in this process, which is what the machine takes under its present load.
"""

import http.client
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

_EVERY_S = 0.25
_TIMEOUT_S = 5


def main() -> None:
    """Check until the process is ended."""
    idle = HTTPServer(("127.0.0.1", 0), _Live)
    threading.Thread(target=idle.serve_forever, daemon=True).start()
    while True:
        sys.stdout.write(f"{check(int(sys.argv[1]))} {check(idle.server_port)}\n")
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
        return type(error).__name__
    return f"{time.perf_counter() - begun:.4f}" if status == 200 else f"status-{status}"


class _Live(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature of the class above
        """Write nothing."""


if __name__ == "__main__":
    main()
