"""Leaves out what torch would do in vain while networks are built and weights renamed."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

INITIALIZERS: Collection[Callable[..., Any]] = (
    torch.nn.init.kaiming_uniform_,
    torch.nn.init.normal_,
    torch.nn.init.trunc_normal_,
    torch.nn.init.uniform_,
)
"""Random values for weights. On the meta device there is nothing to fill, and torch takes longest to find that out."""
COPIES: Collection[Callable[..., Any]] = (torch.Tensor.clone, torch.Tensor.contiguous)
"""Copies of tensors, which leave views if they are skipped; the reader of the files gives them their layout."""


class Skipping(TorchFunctionMode):
    """A `with` block in which some functions give back their first argument as it is; for this thread alone."""

    def __init__(self, functions: Collection[Callable[..., Any]]) -> None:
        super().__init__()
        self._functions = frozenset(functions)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace a call of one of torch's functions."""
        given = kwargs or {}
        if func in self._functions:
            return args[0] if args else given["tensor"]
        return func(*args, **given)
