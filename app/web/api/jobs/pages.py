"""Pages of `GET /jobs`: a cursor names the last job of a page, so that pages have no gaps while new jobs arrive."""

import base64
import binascii
from urllib.parse import quote, urlencode

from litestar import Request

from ....domain.errors import FieldError, InvalidRequest
from ....domain.jobs.record import JobPlace
from ....domain.jobs.tracked_job import TrackedJob


def cursor_of(job: TrackedJob) -> str:
    """Write the place of a job as an opaque text."""
    return base64.urlsafe_b64encode(f"{job.created!r} {job.id}".encode()).decode().rstrip("=")


def place_in(cursor: str) -> JobPlace:
    """Read a cursor.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        created, _, job_id = text.partition(" ")
        return JobPlace(created=float(created), id=job_id)
    except (ValueError, binascii.Error):
        wrong = FieldError(field="after", message="must be the cursor of a `Link` header of GET /jobs")
        raise InvalidRequest([wrong]) from None


def next_page(request: Request, jobs: list[TrackedJob], limit: int) -> dict[str, str]:
    """Return the header that leads to the next page (RFC 8288); none after the last page."""
    if len(jobs) < limit:
        return {}
    stated = [(name, value) for name, value in request.query_params.multi_items() if name != "after"]
    path = f"{request.scope.get('root_path', '').rstrip('/')}{quote(request.scope['path'])}"
    return {"link": f'<{path}?{urlencode([*stated, ("after", cursor_of(jobs[-1]))])}>; rel="next"'}
