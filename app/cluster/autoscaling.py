"""How many workers there should be, by the estimated seconds of their queues."""

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

WAIT_METRIC = "wait_s"
"""Name under which a worker tells the autoscaler the estimated seconds of its queue."""


def workers_for(waits_s: Collection[float], workers: int, target_s: float) -> int:
    """Return how many workers work off all queues in `target_s` seconds.

    Args:
        waits_s: estimated seconds of the queue of each worker that has reported; others are taken for idle.
        workers: that run now.
        target_s: seconds that a request should wait at most.
    """
    return max(1, math.ceil(sum(waits_s) / target_s)) if waits_s else max(1, workers)


class ByQueue:
    """A policy for Ray Serve, whose autoscaling config keeps the bounds and the delays."""

    def __init__(self, target_s: float) -> None:
        self._target_s = target_s

    def __call__(self, context: "AutoscalingContext") -> tuple[int, dict[str, Any]]:
        """Return the number of workers, and no state."""
        reported = (context.aggregated_metrics or {}).get(WAIT_METRIC, {})
        return workers_for(list(reported.values()), context.current_num_replicas, self._target_s), {}
