"""Refuses what comes from other machines while the server has no keys.

`litestar-diffusion serve` does not even listen there. Under another server, such as `uvicorn --factory`, the address is not
known before a connection comes.
"""

import ipaddress

from litestar.types import ASGIApp, Receive, Scope, Send

from ....logs import get_logger
from ...http.errors.problems import send_problem
from ...http.errors.refusals import keys_needed

_log = get_logger(__name__)


class LoopbackOnly:
    """Middleware; refuses with a problem document of status 403, and logs that once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._logged = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        address = (scope.get("server") or ("", None))[0] if scope["type"] == "http" else ""
        if not is_beyond_loopback(address):
            await self._app(scope, receive, send)
            return
        problem = keys_needed()
        if not self._logged:
            self._logged = True
            _log.warning("keys_needed", address=address, reason=problem.detail)
        await send_problem(problem, scope, send)


def is_beyond_loopback(address: str) -> bool:
    """Tell whether an address of this machine can be reached from others. A name, such as that of a socket file, cannot."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (getattr(found, "ipv4_mapped", None) or found).is_loopback
