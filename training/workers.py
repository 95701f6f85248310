"""Single-threaded processes that train one model: two on two cores are faster than one process with two threads."""

import tempfile
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn


def run_workers(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """Call `function(rank, *arguments)` in `count` processes that can average gradients; wait for all of them."""
    store = f"{tempfile.mkdtemp()}/store"
    spawn(_worker, args=(count, store, function, arguments), nprocs=count, join=True)


def _worker(rank: int, count: int, store: str, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=count, timeout=timedelta(minutes=30)
    )
    try:
        function(rank, *arguments)
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the workers, in one message."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if dist.get_world_size() == 1:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
