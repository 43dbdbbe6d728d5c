"""What is measured does not depend on the random seed: crops of a test are in the middle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import make_folder

from wsss_plugins.datasets import FolderWSSS

CROPS = dict(
    smaller=[dict(type='LoadImage'), dict(type='RandomCropPad', size=(16, 24))],
    larger=[dict(type='LoadImage'), dict(type='RandomCropPad', size=(4, 5))],
    at_once=[dict(type='LoadCrop', size=(16, 4))],
)


def pixels(root: Path, name: str, seed: int, test_mode: bool) -> np.ndarray:
    data = FolderWSSS(root, 'train', pipeline=CROPS[name], test_mode=test_mode)
    np.random.seed(seed)
    return data[0]['img']


@pytest.mark.parametrize('name', CROPS)
def test_a_test_is_the_same_for_every_seed(tmp_path, name) -> None:
    root = make_folder(tmp_path, [('a.png', 'cat'), ('b.png', 'dog')])
    first, *others = (pixels(root, name, seed, True) for seed in range(6))
    assert all(np.array_equal(first, other) for other in others)
    first, *others = (pixels(root, name, seed, False) for seed in range(6))
    assert not all(np.array_equal(first, other) for other in others)


def test_the_padding_is_on_both_sides(tmp_path) -> None:
    root = make_folder(tmp_path, [('a.png', 'cat'), ('b.png', 'dog')])
    photo = FolderWSSS(root, 'train').load_image(0)  # 6 x 10
    shown = pixels(root, 'smaller', 0, True)
    assert np.array_equal(shown[5:11, 7:17], photo)
