"""The settings of workers."""

import msgspec

from ..settings import JobsSettings, Settings, WebhooksSettings


def settings_of_workers(settings: Settings) -> Settings:
    """Return the settings without what the ingress does: keeping jobs and telling of their ends.

    Keys stay, because the queue of a worker has the limits of their waiting requests.
    """
    return msgspec.structs.replace(settings, jobs=JobsSettings(directory=""), webhooks=WebhooksSettings())
