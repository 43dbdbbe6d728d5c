"""Means over the batch of all workers together."""

from __future__ import annotations

from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def whole_batch_mean(total: Tensor, count: Tensor, more: float = 0.0) -> Tensor:
    """This worker's part of a mean over the batch of all workers.

    Distributed training averages the gradients of the workers. The average of the means
    of all workers is not the mean over the whole batch where their counts differ; the
    average of these parts is. Every worker calls this function.

    Args:
        total: A scalar: the sum over this worker's images.
        count: A scalar: how many terms the sum has.
        more: Added to the count of all workers together.

    Returns:
        The sum times the number of workers, over the count of all workers plus ``more``;
        0 where nothing is counted. With one worker it is the mean.
    """
    counts = count.detach().clone().to(total)
    all_reduce(counts)
    counts = counts + more
    return total * get_world_size() / counts.where(counts > 0, 1)
