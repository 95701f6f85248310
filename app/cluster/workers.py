"""Calls workers through Ray Serve: routes by model, cancels, and runs again what a dead worker had."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from ray.exceptions import ActorUnavailableError, RayActorError, RayError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from ..domain.errors import DiffusionError, GenerationFailed, QueueFull, ShuttingDown
from ..domain.jobs.failures import error_of
from ..domain.requests.progress import Progress
from ..logs import get_logger
from .messages import Answer, Call, Failed, Message

_log = get_logger(__name__)

_ATTEMPTS = 2
"""A call whose worker dies is sent once more: what ends two workers may well end the next."""
_BUSY_RETRY_S = 10
_DEAD = (RayActorError, ActorUnavailableError, DeploymentUnavailableError)


class Workers:
    """The workers behind a deployment handle. Event loop only."""

    def __init__(self, handle: Callable[[], "DeploymentHandle[Any]"]) -> None:
        """Make them; `handle` is called once, by the first call, because the deployment must run then."""
        self._handle = handle
        self._streaming: DeploymentHandle[Any] | None = None

    async def call(self, call: Call, on_progress: Callable[[Progress], None] = lambda _progress: None) -> Answer:
        """Have a worker answer, one that has the model if there is one. If the waiting task is cancelled, the work ends.

        Raises:
            DiffusionError: what the worker raised; or no worker could answer.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._answer(call, on_progress)
            except _DEAD as error:
                _log.warning("worker_died", model=call.model, attempt=attempt, reason=str(error)[:200])
                if attempt == _ATTEMPTS:
                    raise GenerationFailed("The worker of this request ended, and so did the next one.") from error
            except BackPressureError as error:
                raise QueueFull(int(error.args[0]), retry_after_s=_BUSY_RETRY_S) from error
        raise AssertionError

    async def _answer(self, call: Call, on_progress: Callable[[Progress], None]) -> Answer:
        response = self._handles().options(multiplexed_model_id=call.model).answer.remote(call)
        try:
            async for message in _messages(response):
                if isinstance(message, Failed):
                    raise error_of(message.failure)
                if isinstance(message, Answer):
                    return message
                on_progress(message)
        except asyncio.CancelledError:
            response.cancel()
            raise
        except TaskCancelledError as error:  # by Ray, because the application is being removed
            raise ShuttingDown("The cluster is shutting down.") from error
        except (*_DEAD, BackPressureError, DiffusionError):
            raise
        except (RayError, RayServeException) as error:
            raise GenerationFailed(f"The cluster could not run the request: {error}.") from error
        raise GenerationFailed("The worker of this request ended without an answer.")

    def _handles(self) -> "DeploymentHandle[Any]":
        if self._streaming is None:
            self._streaming = self._handle().options(stream=True)
        return self._streaming


async def _messages(response: Any) -> AsyncIterator[Message]:
    async for message in response:
        yield message
