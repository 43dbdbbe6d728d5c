"""The files of a confusion matrix."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from wsss_plugins.errors import DataError
from wsss_plugins.metrics import confusion_matrix, save_confusion
from wsss_plugins.structures import load_npz


def test_rows_are_the_ground_truth(tmp_path) -> None:
    target = np.array([[0, 0, 1, 255], [2, 2, 2, 0]])
    found = np.array([[0, 1, 1, 2], [2, 0, 1, 0]])
    confusion = confusion_matrix(found, target, 3)
    save_confusion(tmp_path / 'scores', confusion, ['background', 'cat, big', 'dög'])
    arrays = load_npz(tmp_path / 'scores/confusion.npz')
    assert np.array_equal(arrays['confusion'], [[2, 1, 0], [0, 1, 0], [1, 1, 1]])
    assert list(arrays['classes']) == ['background', 'cat, big', 'dög']
    with (tmp_path / 'scores/confusion.csv').open(newline='', encoding='utf-8') as file:
        rows = list(csv.reader(file))
    assert rows == [
        ['ground truth', 'background', 'cat, big', 'dög'],
        ['background', '2', '1', '0'],
        ['cat, big', '0', '1', '0'],
        ['dög', '1', '1', '1'],
    ]


def test_refuses_names_that_do_not_fit(tmp_path) -> None:
    with pytest.raises(DataError, match=r'shape \(3, 3\) does not fit 2 classes'):
        save_confusion(tmp_path, np.zeros((3, 3), np.int64), ['background', 'cat'])
    assert not list(tmp_path.iterdir())
