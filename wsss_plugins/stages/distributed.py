"""Workers of one run, on CPUs or GPUs, started by torchrun or alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar('T')


def init_workers() -> None:
    """Joins the process group when torchrun started this process; else does nothing.

    mmengine's launcher asks for CUDA; joining before its Runner is built lets CPU
    workers train through gloo.
    """
    if 'RANK' not in os.environ or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    backend = 'nccl' if torch.cuda.is_available() else 'gloo'
    dist.init_process_group(backend, timeout=timedelta(hours=12))


def close_workers() -> None:
    """Leaves the process group."""
    if dist.is_initialized():
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
