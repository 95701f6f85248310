"""The rules of the domain's parts, from the settings; in those, 0 means no limit."""

from .domain.access.key_ring import client_named
from .domain.dispatch.fair_queue import AgingPolicy
from .domain.dispatch.policy import DispatchPolicy
from .domain.errors import InvalidSettings
from .domain.jobs.keeping.retention import Retention
from .domain.jobs.policy import JobPolicy
from .domain.jobs.webhooks.webhook import WebhookPolicy
from .domain.models.aliases import Aliases, wrong_aliases
from .settings import Settings, WebhooksSettings


def model_aliases(settings: Settings) -> Aliases:
    """Build the aliases of the settings.

    Raises:
        InvalidSettings: some are no names, or lead in a circle.
    """
    models = settings.models
    if errors := wrong_aliases(models.aliases, models.default):
        raise InvalidSettings("The settings object", errors)
    return Aliases.of(models.aliases, models.default)


def dispatch_policy(settings: Settings) -> DispatchPolicy:
    """Build the rules of the queue from the settings."""
    limits, dispatch = settings.limits, settings.dispatch
    return DispatchPolicy(
        max_waiting=limits.max_waiting,
        max_waiting_per_client=limits.max_waiting_per_client or None,
        slice_s=settings.dispatch.slice_s,
        whole_decode_px=settings.dispatch.whole_decode_px or None,
        max_waiting_by_client={
            client_named(name): (key.max_waiting, f"keys.{name}.max_waiting")
            for name, key in settings.keys.items()
            if key.max_waiting is not None
        },
        max_wait_s=limits.max_wait_s or None,
        max_request_s=limits.max_request_s or None,
        aging=AgingPolicy(max_overtaken=dispatch.max_passes, max_wait_s=dispatch.patience_s),
        max_rows=dispatch.max_rows,
        stuck_after_s=dispatch.stuck_after_s,
    )


def job_policy(settings: Settings) -> JobPolicy:
    """Build the rules of job retention from the settings; unfinished jobs are limited to those that can wait and run."""
    jobs = settings.jobs
    return JobPolicy(
        max_unfinished=settings.limits.max_waiting + settings.dispatch.max_rows,
        retention=Retention(
            keep_s=jobs.keep_s, max_finished=jobs.max_finished, max_result_nbytes=jobs.max_result_bytes
        ),
    )


def webhook_policy(webhooks: WebhooksSettings) -> WebhookPolicy:
    """Build the rules of webhooks from the settings."""
    return WebhookPolicy(allowed_hosts=webhooks.allowed_hosts, allow_private=webhooks.allow_private)
