"""Inputs of the UNet that come from the prompts, which may change from one step to another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...domain.requests.prompts.conditioning_schedule import ConditioningSchedule, Rows, Texts


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """Inputs of the UNet beside latents and timestep, one row for each row of its batch.

    With guidance the first row is the negative one; the others are the parts of the prompt, nearly always one.
    """

    sequence: Tensor
    """rows x 77 * chunks x (width of encoder 1 + width of encoder 2); all rows have the chunks of the longest prompt."""
    pooled: Tensor
    """rows x projection width of encoder 2, of the first chunk."""


class ScheduledConditioning:
    """The conditioning of an image at each of its steps. All have the same shape. Engine thread only.

    It holds tensors alone and no network, because a request that gives way may go on with a model that was loaded anew.
    """

    def __init__(
        self,
        schedule: ConditioningSchedule,
        encoded: Mapping[Texts, Conditioning],
        *,
        zeroed_negative: bool = False,
        warnings: Sequence[str] = (),
    ) -> None:
        """Join the rows of the first steps.

        Args:
            schedule: what is encoded, and when.
            encoded: a row for each text, of equal shapes.
            zeroed_negative: whether negative rows are zeros rather than those of their texts.
            warnings: for the client.
        """
        self.weights = schedule.weights
        """Of the rows that are not the negative one."""
        self.warnings = tuple(warnings)
        self._stretches = schedule.stretches
        self._encoded = encoded
        self._zeroed_negative = zeroed_negative
        self._joined = (0, self._join(schedule.stretches[0]))

    def stretch_at(self, step: int) -> int:
        """Return the number of the stretch of steps that a step, counted from 1, belongs to."""
        return next(index for index, rows in enumerate(self._stretches) if step <= rows.last_step)

    def of_stretch(self, stretch: int) -> Conditioning:
        """Return the rows of a stretch; the same object as long as no other one is asked for.

        Only the last is kept: an alternation may have as many as there are steps, and joining takes microseconds.
        """
        if self._joined[0] != stretch:
            self._joined = (stretch, self._join(self._stretches[stretch]))
        return self._joined[1]

    def _join(self, rows: Rows) -> Conditioning:
        parts = [self._encoded[texts] for texts in rows.positives]
        if rows.negative is not None:
            parts.insert(0, _zeros_like(parts[0]) if self._zeroed_negative else self._encoded[rows.negative])
        return Conditioning(torch.cat([part.sequence for part in parts]), torch.cat([part.pooled for part in parts]))


def _zeros_like(row: Conditioning) -> Conditioning:
    return Conditioning(torch.zeros_like(row.sequence), torch.zeros_like(row.pooled))
