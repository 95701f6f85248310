"""A log line for every job without a waiting request: the access log does not say how such a job ended."""

from typing import Any
from urllib.parse import urlsplit

from ....domain.errors import DiffusionError, DownloadFailed, GenerationFailed, LoadFailed
from ....domain.jobs.tracked_job import TrackedJob
from ....domain.jobs.webhooks.webhook import Delivery
from ....logs import get_logger

_log = get_logger(__name__)


def log_job(job: TrackedJob) -> None:
    """Log how a job ended, with the stack if it is a fault of the server."""
    if not job.detached:
        return
    facts: dict[str, Any] = {"job": job.id, "model": job.model, "state": job.state, "steps": job.steps_done}
    facts["s"] = round((job.ended or job.created) - job.created, 3)
    failure = job.failure
    if failure is None:
        _log.info("job_ended", **facts)
    elif _is_ours(failure):
        _log.error("job_ended", **facts, code=failure.code, exc_info=failure)
    else:
        _log.info("job_ended", **facts, code=failure.code)


def log_given_up(delivery: Delivery, problem: str) -> None:
    """Log a webhook that was not accepted at any attempt."""
    host = urlsplit(delivery.url).hostname  # the rest of an address may hold a secret
    _log.warning("webhook_given_up", job=delivery.job_id, host=host, attempts=delivery.attempts, problem=problem)


def _is_ours(failure: DiffusionError) -> bool:
    """Tell whether an error is a fault of the server, and not of the client, the load or the Hub."""
    if type(failure) is DiffusionError:
        return True
    return isinstance(failure, (GenerationFailed, LoadFailed)) and not isinstance(failure, DownloadFailed)
