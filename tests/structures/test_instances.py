"""Objects of an image, written and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsss_plugins.errors import DataError
from wsss_plugins.structures import Instances, agreed_labels


def some(count: int) -> Instances:
    masks = np.random.default_rng(0).random((count, 5, 7)) > 0.5
    return Instances(
        masks, np.arange(count), np.linspace(0, 1, count).astype(np.float32)
    )


@pytest.mark.parametrize('count', [0, 1, 3])
def test_read_as_written(tmp_path: Path, count: int) -> None:
    wanted = some(count)
    wanted.save(tmp_path / 'a.npz')
    found = Instances.load(tmp_path / 'a.npz')
    assert found.size == (5, 7)
    for name in ('masks', 'classes', 'scores'):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / 'a.npz'
    for arrays in (
        dict(masks=np.zeros((1, 5), np.uint8)),
        dict(masks=np.zeros((1, 5), np.uint8), classes=np.zeros(1), scores=np.zeros(1),
             size=np.array([500, 7])),
        dict(masks=np.zeros(5), classes=np.zeros(1), scores=np.zeros(1), size=np.zeros(2)),
        dict(masks=np.zeros((1, 5), np.uint8), classes=np.zeros(2), scores=np.zeros(1),
             size=np.array([5, 7])),
    ):  # fmt: skip
        np.savez(path, **arrays)
        with pytest.raises(DataError, match='holds no instances') as error:
            Instances.load(path)
        assert '\n' not in str(error.value) and str(path) in str(error.value)


def test_scores_must_be_finite() -> None:
    with pytest.raises(DataError, match='finite'):
        Instances(np.zeros((1, 2, 2), bool), np.zeros(1), np.array([np.nan]))


def test_labels_that_both_backgrounds_agree_on() -> None:
    high = np.array([[3, 0, 0, 3]], np.uint8)
    low = np.array([[3, 3, 0, 0]], np.uint8)
    assert agreed_labels(high, low).tolist() == [[3, 255, 0, 3]]
