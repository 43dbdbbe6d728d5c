"""Workers of one run, on CPUs or GPUs, started by torchrun or alone."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar('T')


@contextmanager
def worker_group() -> Iterator[None]:
    """Joins the other workers when torchrun started this process; else does nothing.

    mmengine's launcher asks for CUDA; joining before its Runner is built lets CPU
    workers train through gloo. Models must be out of scope when the block ends: torch
    may hang when the group goes before a distributed model.

    Yields:
        Nothing.
    """
    if 'RANK' not in os.environ or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    backend = 'nccl' if torch.cuda.is_available() else 'gloo'
    dist.init_process_group(backend, timeout=timedelta(hours=12))
    yield
    gc.collect()
    dist.destroy_process_group()


def rank() -> int:
    """Index of this worker."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Waits for all workers."""
    if dist.is_initialized():
        dist.barrier()


def share_of(items: Sequence[T]) -> Sequence[T]:
    """The items that this worker handles."""
    return items[rank() :: world_size()]


def gather(value: T) -> list[T]:
    """``value`` of every worker, in the order of ranks."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def device() -> torch.device:
    """Where this worker computes."""
    if torch.cuda.is_available():
        return torch.device('cuda', torch.cuda.current_device())
    return torch.device('cpu')
