"""Refuses what would begin work while the server ends; reads, and cancelling jobs, are answered until the port closes."""

from collections.abc import Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from ...domain.dispatch.job import going_down

_BEGIN_WORK = frozenset({"POST", "PUT", "PATCH"})


def refuse_while(ending: Callable[[], bool]) -> Guard:
    """Make a guard that refuses work by 503 `shutting_down` with Retry-After, before the body is read."""

    def refuse(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
        if ending() and connection.scope.get("method") in _BEGIN_WORK:
            raise going_down()

    return refuse
