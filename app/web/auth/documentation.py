"""What the OpenAPI document says about keys: how they are sent, and the answers to requests without the right one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Components, SecurityRequirement, SecurityScheme

from ...domain.errors import ConflictingKeys, Unauthorized
from ..http.errors.documented_errors import documented
from ..http.errors.problems import Problem, problem_of
from .guard import missing_scope
from .requirements import required_by

_DOCUMENTED = "litestar_diffusion_documented"
_NO_KEY = problem_of(Unauthorized("The request carries no key. Send one of this server's keys."))

SECURITY: tuple[SecurityRequirement, ...] = ({"BearerKey": []}, {"HeaderKey": []}, {"BasicKey": []})
"""Any of the three."""
COMPONENTS = Components(
    security_schemes={
        "BearerKey": SecurityScheme(type="http", scheme="bearer", description="`Authorization: Bearer KEY`"),
        "HeaderKey": SecurityScheme(
            type="apiKey", name="X-API-Key", security_scheme_in="header", description="`X-API-Key: KEY`"
        ),
        "BasicKey": SecurityScheme(
            type="http", scheme="basic", description="The key is the password; the user name may be any."
        ),
    }
)

Document = Callable[[str, Problem], ResponseSpec]


def documented_by(document: Document) -> dict[str, Any]:
    """Return the `opt` of a dialect's router: what documents an error in the dialect's shape."""
    return {_DOCUMENTED: document}


def document_keys(handler: HTTPRouteHandler) -> None:
    """Add to a handler, unless it is public, the keys that it needs and the answers without them."""
    if not (required := required_by(handler.opt)):
        return
    document = cast("Document", handler.opt.get(_DOCUMENTED, documented))
    known = dict(handler.responses or {})
    held = ("read",) if "read" not in required else ("generate",)
    refused = document(
        f"The key has no scope that allows this: it needs {' or '.join(sorted(required))}.",
        problem_of(missing_scope("ci", held, required)),
    )
    handler.responses = {
        400: document("The request is wrong, such as by two different keys.", problem_of(ConflictingKeys())),
        **known,
        401: document("The request carries no valid key.", _NO_KEY),
        403: _with(refused, known.get(403)),
    }
    handler.security = SECURITY


def _with(refused: ResponseSpec, known: ResponseSpec | None) -> ResponseSpec:
    """Add the documented refusal of foreign pages, which has one shape in all dialects."""
    if known is None or known.data_container is not refused.data_container:
        return refused
    return replace(
        refused,
        description=f"{refused.description} Or: {known.description}",
        examples=[*(refused.examples or ()), *(known.examples or ())],
    )
