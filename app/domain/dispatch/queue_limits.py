"""Decides whether one more job may wait."""

from collections.abc import Callable, Sequence

from ..errors import QueueFull, TooManyRequests
from .policy import DispatchPolicy


def refuse_if_full(
    policy: DispatchPolicy,
    client: str,
    waiting_clients: Sequence[str],
    *,
    begun: int,
    devices: int,
    retry_after_s: Callable[[], int],
) -> None:
    """Refuse a job of a client if too many wait.

    Args:
        policy: the limits.
        client: its sender.
        waiting_clients: the sender of each job that has not begun, in the order of arrival.
        begun: number of jobs that have.
        devices: number of devices that serve.
        retry_after_s: estimates when there is a place again.

    Raises:
        QueueFull: too many jobs wait.
        TooManyRequests: too many of this client.
    """
    # Each device always works for one job, so the first of several do not wait, even before they run.
    clients = waiting_clients[max(0, devices - begun) :]
    waiting, own = len(clients), clients.count(client)
    if begun + len(waiting_clients) >= devices and waiting >= policy.max_waiting:
        raise QueueFull(waiting, retry_after_s=retry_after_s())
    limit, setting = policy.limit_of(client)
    if limit is not None:
        if own >= limit:
            raise TooManyRequests(own, retry_after_s=retry_after_s(), setting=setting)
    elif own and own >= (free := policy.max_waiting - waiting):
        # Dynamic thresholds (Choudhury and Hahne 1998, "Dynamic queue length thresholds for shared-memory packet switches"):
        # one client gets half of the queue, the next half of the rest, so that there is always a place for another one.
        raise TooManyRequests(own, retry_after_s=retry_after_s(), free=free)
