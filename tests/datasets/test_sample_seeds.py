"""The random part of a sample follows from seed, epoch and index, and from nothing else."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.dataset import ConcatDataset, RepeatDataset
from torch.utils.data import DataLoader, Dataset, Subset
from trees import make_folder

from wsss_plugins.datasets import FolderWSSS, SeededSamples

COUNT = 6


class Draw(BaseTransform):
    """Numbers of the three generators; rejects a sample now and then."""

    def __init__(self, reject: float = 0.0) -> None:
        self.reject = reject

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        numbers = [random.random(), np.random.rand(), np.random.randn()]
        numbers.append(torch.rand(()).item())
        if np.random.rand() < self.reject:
            return None
        return dict(numbers=torch.tensor(numbers), index=results['sample_idx'])


@pytest.fixture
def dataset(tmp_path) -> SeededSamples:
    make_folder(tmp_path, [(f'{i}.png', 'cat') for i in range(COUNT)])
    return SeededSamples(FolderWSSS(tmp_path, 'train', pipeline=[Draw()]))


def epoch_of(loader: DataLoader, epoch: int, seed: int = 3) -> dict[int, torch.Tensor]:
    """The numbers of every image."""
    loader.dataset.begin_epoch(seed, epoch)
    numbers: dict[int, torch.Tensor] = {}
    for batch in loader:
        numbers.update(zip(batch['index'].tolist(), batch['numbers'], strict=True))
    return numbers


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys() == set(range(COUNT))
    assert all(torch.equal(one[index], other[index]) for index in one)


@pytest.mark.parametrize(
    ('workers', 'batch_size', 'persistent', 'start'),
    [
        (0, 1, False, None),
        (1, 4, False, 'fork'),
        (2, 2, False, 'fork'),
        (2, 3, True, 'fork'),
        pytest.param(2, 3, True, 'spawn', marks=pytest.mark.slow),
    ],
)
def test_samples_do_not_depend_on_who_draws_them(
    dataset, workers, batch_size, persistent, start
) -> None:
    expected = [epoch_of(DataLoader(dataset), epoch) for epoch in (0, 1)]
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)
    loader = DataLoader(
        dataset,
        batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=persistent,
        multiprocessing_context=start,
    )
    for epoch in (0, 1):
        assert_same(epoch_of(loader, epoch), expected[epoch])
    assert_same(epoch_of(loader, 0), expected[0])


def test_seeds_epochs_and_images_differ(dataset) -> None:
    loader = DataLoader(dataset)
    runs = [epoch_of(loader, 0), epoch_of(loader, 1), epoch_of(loader, 0, seed=4)]
    numbers = torch.stack([number for run in runs for number in run.values()])
    assert len(numbers) == 3 * COUNT
    for column in numbers.T:
        assert len(column.unique()) == 3 * COUNT, 'each generator was seeded anew'
    assert (numbers[:, 0] - numbers[:, 1]).abs().min() > 1e-6


def test_numbers_are_uniform(dataset) -> None:
    """Seeds of neighbours do not show in what is drawn."""
    drawn = []
    for epoch in range(300):
        dataset.begin_epoch(0, epoch)
        drawn += [dataset[i]['numbers'][[0, 1, 3]] for i in range(COUNT)]
    numbers = torch.stack(drawn)
    assert (numbers.mean(0) - 0.5).abs().max() < 0.03  # 4.4 sigma
    neighbours = torch.corrcoef(torch.cat([numbers[1:], numbers[:-1]], 1).T)
    assert (neighbours - torch.eye(6)).abs().max() < 0.1  # 4.2 sigma


def state() -> tuple:
    kind, keys, *rest = np.random.get_state()
    numpy_state = (kind, keys.tobytes(), *rest[:1])
    return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()


def test_random_state_of_others_is_untouched(dataset) -> None:
    before = state()
    dataset[0]
    assert state() != before, 'nothing is seeded before an epoch begins'
    dataset.begin_epoch(0, 0)
    before = state()
    dataset[0]
    assert state() == before
    dataset.dataset.pipeline.transforms[0].transform = lambda results: 1 / 0
    with pytest.raises(ZeroDivisionError):
        dataset[0]
    assert state() == before


def test_rejected_samples_are_drawn_anew_alike(tmp_path) -> None:
    make_folder(tmp_path, [(f'{i}.png', 'cat') for i in range(COUNT)])
    inner = FolderWSSS(tmp_path, 'train', pipeline=[Draw(reject=0.6)])
    dataset = SeededSamples(inner)
    dataset.begin_epoch(0, 0)
    first = [dataset[i] for i in range(COUNT)]
    assert [sample['index'] for sample in first] != list(range(COUNT))
    for i in reversed(range(COUNT)):
        assert torch.equal(dataset[i]['numbers'], first[i]['numbers'])


def test_repetitions_of_an_image_differ(dataset) -> None:
    repeated = SeededSamples(RepeatDataset(dataset.dataset, 2))
    joined = SeededSamples(ConcatDataset([dataset.dataset, dataset.dataset]))
    for both in (repeated, joined):
        both.begin_epoch(3, 0)
        one, other = both[1], both[1 + COUNT]
        assert one['index'] == other['index'] == 1
        assert not torch.equal(one['numbers'], other['numbers'])
        assert torch.equal(both[-1]['numbers'], both[2 * COUNT - 1]['numbers'])


def test_it_looks_like_the_data_set_within(dataset) -> None:
    assert len(dataset) == COUNT
    assert dataset.metainfo['classes'] == ('background', 'cat')
    assert dataset.foreground_classes == ('cat',)
    with pytest.raises(AttributeError, match="'FolderWSSS' object has no"):
        _ = dataset.nothing
    part = SeededSamples(Subset(dataset.dataset, [4, 2]))
    part.begin_epoch(3, 0)
    loaded = next(iter(DataLoader(part, batch_size=2)))
    assert loaded['index'].tolist() == [4, 2]
    assert torch.equal(loaded['numbers'][1], part[1]['numbers']), 'not in one batch'
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(copy) == COUNT


class Nothing(Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        return index


def test_seeding_costs_little_beside_decoding() -> None:
    """About 40 microseconds; an image of VOC takes some milliseconds."""
    dataset = SeededSamples(Nothing())
    dataset.begin_epoch(0, 0)

    def times() -> Iterator[float]:
        for _ in range(200):
            start = time.perf_counter()
            dataset[0]
            yield time.perf_counter() - start

    assert min(times()) < 2e-4
