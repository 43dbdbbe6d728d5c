"""Two random views of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, RandomFlip
from mmengine.dataset import pseudo_collate
from trees import make_folder

from wsss_plugins.datasets import (
    FolderWSSS,
    LoadImage,
    PackClassInputs,
    RandomCropPad,
    ResizeLongSide,
    SeededSamples,
    TwoViews,
)
from wsss_plugins.errors import ConfigError

RANDOM = [
    dict(type='ResizeLongSide', low=12, high=40),
    dict(type=RandomFlip, prob=0.5),
    dict(type='RandomCropPad', size=(16, 24)),
    dict(type='PackClassInputs'),
]


def sample() -> dict[str, Any]:
    image = np.random.randint(0, 256, (20, 30, 3), dtype=np.uint8)
    return dict(
        img=image, img_shape=(20, 30), ori_shape=(20, 30), img_id='a',
        gt_label=np.array([0, 1, 1], np.float32),
    )  # fmt: skip


class Reject(BaseTransform):
    """Refuses the second picture that it is given."""

    def __init__(self) -> None:
        self.seen = 0

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        self.seen += 1
        return None if self.seen == 2 else results


def test_both_views_are_of_the_image_and_differ() -> None:
    given = sample()
    before = given['img'].copy()
    packed = TwoViews(RANDOM)(given)
    assert set(packed) == {'inputs', 'data_samples'}
    assert packed['inputs'].shape == (2, 3, 16, 24)
    assert packed['inputs'].dtype == torch.uint8
    assert not torch.equal(*packed['inputs'])
    assert packed['data_samples'].gt_label.tolist() == [0, 1, 1]
    assert packed['data_samples'].img_id == 'a'
    np.testing.assert_array_equal(given['img'], before)


def test_each_view_is_what_the_pipeline_makes_alone() -> None:
    """The first follows from the random state, the second from where it was left."""
    given = sample()
    np.random.seed(5)
    packed = TwoViews(RANDOM)(given)
    np.random.seed(5)
    single = [ResizeLongSide(12, 40), RandomFlip(prob=0.5), RandomCropPad((16, 24))]
    for view in packed['inputs']:
        results = dict(given)
        for transform in (*single, PackClassInputs()):
            results = transform(results)
        assert torch.equal(view, results['inputs'])


def test_without_randomness_the_views_are_equal() -> None:
    views = TwoViews([RandomCropPad((20, 30)), PackClassInputs()])(sample())['inputs']
    assert torch.equal(*views)


def test_rejected_views_reject_the_image() -> None:
    assert TwoViews([Reject(), PackClassInputs()])(sample()) is None


def test_in_a_data_set_an_image_is_read_once(tmp_path, monkeypatch) -> None:
    make_folder(tmp_path, [(f'{i}.png', 'cat') for i in range(3)])
    reads = []
    load = LoadImage.transform
    monkeypatch.setattr(
        LoadImage, 'transform', lambda self, r: reads.append(1) or load(self, r)
    )
    pipeline = [LoadImage(), dict(type='TwoViews', pipeline=RANDOM)]
    dataset = SeededSamples(FolderWSSS(tmp_path, 'train', pipeline=pipeline))
    dataset.begin_epoch(0, 0)
    batch = pseudo_collate([dataset[i] for i in range(3)])
    assert len(reads) == 3
    assert [tuple(pair.shape) for pair in batch['inputs']] == [(2, 3, 16, 24)] * 3
    again = dataset[2]['inputs']
    assert torch.equal(again, batch['inputs'][2]), 'it follows from seed and index'


@pytest.mark.parametrize(
    ('pipeline', 'message'),
    [
        ([], 'TwoViews needs a pipeline'),
        ([dict(type='RandomCropPda', size=3)], 'RandomCropPad'),
        ([dict(type='RandomCropPad', edge=3)], 'edge'),
    ],
)
def test_wrong_pipelines_are_refused(pipeline, message) -> None:
    with pytest.raises(ConfigError, match=message):
        TwoViews(pipeline)


@pytest.mark.parametrize(
    ('pipeline', 'found'),
    [
        (RANDOM[:3], 'not packed'),
        ([RANDOM[0], RANDOM[3]], r'\(3, \d+, \d+\), \(3, \d+, \d+\)'),
    ],
)
def test_views_that_do_not_stack(pipeline, found) -> None:
    with pytest.raises(ConfigError, match=f'end with PackClassInputs.*{found}'):
        TwoViews(pipeline)(sample())
