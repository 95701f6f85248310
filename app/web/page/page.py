"""The page's document, and the routes of its files."""

from typing import Annotated, Any
from urllib.parse import quote

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import PathParameter, SkipValidation

from ..auth.requirements import public
from ..http.accept import by_preference
from ..http.media_types import HTML
from ..http.route_groups import in_group
from .files import PageFile, PageFiles

_UNCHANGING = "public, max-age=31536000, immutable"


def page_document(request: Request[Any, Any, Any], files: PageFiles, *, keys: bool) -> Response[str]:
    """Answer with the page, for the path under which it was asked for."""
    path = f"{(request.scope.get('root_path') or '').rstrip('/')}{quote(request.scope['path'].rstrip('/'))}/"
    document = files.document(path, keys=keys)
    headers = {"content-security-policy": files.policy(document), "cache-control": "no-cache", "vary": "Accept"}
    return Response(document, media_type=HTML, headers=headers)


@get(
    "/page/{version:str}/{file:path}",
    include_in_schema=False,
    opt=in_group("page") | public(),
    sync_to_thread=False,
)
def page_file(
    request: Request[Any, Any, Any],
    version: Annotated[str, PathParameter(description="Digest of all files.")],
    file: Annotated[str, PathParameter(description="Of the file.")],
    page_files: NamedDependency[SkipValidation[PageFiles]],
) -> Response[bytes]:
    """Answer with a file, which browsers keep if they asked for this version."""
    found = page_files.files.get(str(file).lstrip("/"))
    if found is None:
        return Response(b"", status_code=404, media_type="text/plain")
    packed = "gzip" in by_preference(request.headers.get("accept-encoding", ""))
    caching = _UNCHANGING if version == page_files.version else "no-cache"
    return Response(_bytes(found, packed=packed), media_type=found.media_type, headers=_headers(packed, caching))


def _bytes(file: PageFile, *, packed: bool) -> bytes:
    return file.packed if packed else file.data


def _headers(packed: bool, caching: str) -> dict[str, str]:
    headers = {"cache-control": caching, "vary": "Accept-Encoding"}
    return {**headers, "content-encoding": "gzip"} if packed else headers
