"""Makes the augmentation of a sample depend on seed, epoch and index only."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.random import mtrand
from torch.utils.data import Dataset

from wsss_plugins.registry import DATASETS

_NOT_BEGUN = -1


class SeededSamples(Dataset):
    """Wraps a data set so that a sample does not depend on the process that draws it.

    Sample ``i`` is drawn with Python's, numpy's and torch's global generators seeded
    by (seed, epoch, i), whatever the batch size and the number of processes and of
    the data loader's workers; persistent workers are told of a new epoch too. This
    wrapper must be the outermost one, outside of a ``RepeatDataset`` for example, so
    that repetitions of an image differ. A sample that is drawn again, because a
    transform rejected the first, is determined as well.

    All other attributes are those of the wrapped data set. Until :meth:`begin_epoch` is
    called, samples are drawn from the global generators as they are.

    Args:
        dataset: A data set, or its config.
    """

    def __init__(self, dataset: Any) -> None:
        built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.dataset = built
        self._epoch = torch.full((2,), _NOT_BEGUN).share_memory_()
        self._spare = np.random.MT19937(0)

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Sets the seed and epoch of the next samples, in this process and its workers.

        Args:
            seed: Seed of the experiment.
            epoch: Epochs before this one.
        """
        self._epoch.copy_(torch.tensor([seed, epoch]))

    def __len__(self) -> int:
        """Number of samples of the wrapped data set."""
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Sample ``index``, with random numbers that follow from seed, epoch and index."""
        seed, epoch = self._epoch.tolist()
        if seed == _NOT_BEGUN:
            return self.dataset[index]
        with seeded([seed, epoch, index % len(self)], self._spare):
            return self.dataset[index]

    def __getattr__(self, name: str) -> Any:
        """Attributes of the wrapped data set, except dunder names."""
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)


@contextmanager
def seeded(numbers: Sequence[int], spare: np.random.MT19937) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's global generators; restores them on exit.

    GPUs' generators are left alone. numpy draws normal numbers in pairs; one that it
    kept for later is lost.

    Args:
        numbers: Numbers >= 0 that determine the random state.
        spare: What numpy draws from meanwhile. To copy its own state in and out would
            take a hundred times as long.

    Yields:
        Nothing.
    """
    words = np.random.SeedSequence(numbers).generate_state(3)
    outside = random.getstate(), mtrand.get_bit_generator(), torch.get_rng_state()
    random.seed(int(words[0]))
    mtrand.set_bit_generator(spare)
    np.random.seed(int(words[1]))
    torch.default_generator.manual_seed(int(words[2]))
    try:
        yield
    finally:
        random.setstate(outside[0])
        mtrand.set_bit_generator(outside[1])
        torch.set_rng_state(outside[2])
