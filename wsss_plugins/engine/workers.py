"""Worker processes of one run, on CPUs or GPUs; torchrun starts several of them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from wsss_plugins.errors import ConfigError, UserError

T = TypeVar('T')


@contextmanager
def worker_group() -> Iterator[None]:
    """Joins the process group if torchrun started this process; otherwise does nothing.

    mmengine's own launcher requires CUDA. Joining the group before mmengine's Runner is
    built lets workers on CPUs train with the backend gloo. Models must be out of scope
    when the block ends, since torch may hang if the group is destroyed before a
    distributed model.

    Yields:
        Nothing.

    Raises:
        UserError: There are more workers than GPUs on a machine.
    """
    if 'RANK' not in os.environ or dist.is_initialized():
        yield
        return
    if torch.cuda.is_available():
        local, gpus = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
        if local >= gpus:
            raise UserError(
                f'worker {local} of this machine has no GPU, since there are {gpus}: start '
                f'at most {gpus} workers on it'
            )
        torch.cuda.set_device(local)
    backend = 'nccl' if torch.cuda.is_available() else 'gloo'
    dist.init_process_group(backend, timeout=timedelta(hours=12))
    yield
    gc.collect()
    dist.destroy_process_group()


def rank() -> int:
    """Index of this worker, 0 for the first."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of workers."""
    return dist.get_world_size() if dist.is_initialized() else 1


def barrier() -> None:
    """Waits until all workers have called this function."""
    if dist.is_initialized():
        dist.barrier()


def share_of(items: Sequence[T]) -> Sequence[T]:
    """The items that this worker processes."""
    return items[rank() :: world_size()]


def share_of_batch(total: int) -> int:
    """Number of images of a training batch that this worker processes.

    Args:
        total: The batch of all workers together, as a config says it.

    Raises:
        ConfigError: ``total`` cannot be divided by the number of workers.
    """
    workers = world_size()
    if total % workers:
        fitting = [str(n) for n in range(1, workers) if total % n == 0]
        raise ConfigError(
            f'train_dataloader.batch_size={total} is the batch of all workers together, '
            f'and {workers} workers cannot share it evenly: start {", ".join(fitting)} '
            f'or another divisor of it, or choose a multiple of {workers} as the batch',
            token='batch_size',
        )
    return total // workers


def gather(value: T) -> list[T]:
    """Collects ``value`` from every worker, in the order of their indices."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def device() -> torch.device:
    """The device of this worker: its GPU, or the CPU if there is none."""
    if torch.cuda.is_available():
        return torch.device('cuda', torch.cuda.current_device())
    return torch.device('cpu')
