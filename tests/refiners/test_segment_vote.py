"""Votes of segments on cases that one can think out, and superpixels."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import SuperpixelVote, segment_vote, superpixels
from wsss_plugins.structures import Seed

LABEL = np.zeros((4, 10), np.uint8)
LABEL[:, 2:6] = 3
LABEL[:, 8:] = 5
LABEL[0, 0] = 255


def bar(left: int, right: int) -> np.ndarray:
    mask = np.zeros((4, 10), bool)
    mask[:, left:right] = True
    return mask


def columns(label: np.ndarray) -> list[int]:
    assert (label == label[-1]).all()
    return label[-1].tolist()


def test_a_class_takes_segments_of_which_it_has_more_than_half() -> None:
    segments = np.array([bar(2, 5), bar(4, 8), bar(5, 7)])
    # 3 of 3, 2 of 4 (not more than half) and 1 of 2 columns.
    assert (
        columns(segment_vote(LABEL, segments, 'max_iou')) == [0, 0, 3, 3, 3] + [0] * 5
    )
    # Column 5 is covered by segments that are free, so that it is not kept; 5 is.
    kept = [0, 0, 3, 3, 3, 0, 0, 0, 5, 5]
    assert columns(segment_vote(LABEL, segments, 'max_iou_imp')) == kept


def test_a_segment_with_nearly_all_of_a_class_is_taken() -> None:
    segments = np.array([bar(0, 10)])
    plain, whole = (
        segment_vote(LABEL, segments, rule) for rule in ('max_iou_imp', 'max_iou_imp2')
    )
    assert not plain.any(), '16 of 40 pixels, and none is uncovered'
    # Class 3 takes it; class 5, which comes later, has nothing left, and stays uncovered.
    assert columns(whole) == [3] * 8 + [5] * 2


@pytest.mark.parametrize('empty', ['segments', 'label'])
def test_nothing_to_vote(empty: str) -> None:
    segments = np.array([bar(0, 10)][: empty == 'label'])
    label = LABEL if empty == 'segments' else np.full_like(LABEL, 255)
    if empty == 'segments':
        segments = np.zeros((0, 4, 10), bool)
    kept = np.where(label == 255, 0, label)
    assert np.array_equal(segment_vote(label, segments, 'max_iou_imp'), kept)
    assert np.array_equal(segment_vote(label, segments, 'overlap'), label)


def test_most_pixels_decide_and_the_smaller_segment_last() -> None:
    label = LABEL.copy()
    segments = np.array([bar(5, 7), bar(2, 9), bar(0, 2)])
    found = segment_vote(label, segments, 'overlap')
    # Columns 2 to 8 are mostly 3; the small one is a tie of 0 and 3, which goes to 0; the
    # unsure pixel does not vote; column 9 is in no segment.
    assert columns(found) == [0, 0, 3, 3, 3, 0, 0, 3, 3, 5]
    assert np.array_equal(label, LABEL), 'the label is left alone'


def halves() -> np.ndarray:
    """A photo of two colours."""
    image = np.full((24, 32, 3), 30, np.uint8)
    image[:, 16:] = 200
    return image


@pytest.mark.parametrize(
    ('method', 'arguments'),
    [('felzenszwalb', dict(scale=50)), ('slic', dict(n_segments=4, compactness=0.1))],
)
def test_superpixels_keep_to_colours(method: str, arguments: dict) -> None:
    pytest.importorskip('skimage')
    found = superpixels(halves(), method, arguments)
    assert (found.sum(0) == 1).all()
    for segment in found:
        assert segment[:, 14:18].sum() == 0 or not (
            segment[:, 14].any() and segment[:, 17].any()
        )


def test_a_superpixel_gets_the_class_that_most_of_it_has() -> None:
    pytest.importorskip('skimage')
    image = torch.from_numpy(halves()).permute(2, 0, 1)
    scores = torch.zeros(2, 24, 32)
    scores[0, :20, 14:] = 0.9  # most of the right half, and a strip of the left one
    scores[1, 20:, 16:] = 0.8
    seed = Seed(scores, torch.tensor([4, 7]), torch.full((24, 32), 0.5))
    found = SuperpixelVote('felzenszwalb', arguments=dict(sigma=0))(image, seed)
    label = found.to_label()
    assert (label[:, :16] == 0).all() and (label[:, 16:] == 5).all()
    assert (found.probabilities().sum(0) == 1).all()


def test_wrong_names_and_arguments_are_refused(monkeypatch) -> None:
    with pytest.raises(ConfigError, match="unknown rule 'max'"):
        segment_vote(LABEL, np.zeros((0, 4, 10), bool), 'max')
    with pytest.raises(ConfigError, match="unknown superpixels 'slick'"):
        SuperpixelVote('slick')
    if 'skimage' in sys.modules or pytest.importorskip('skimage'):
        with pytest.raises(ConfigError, match='refuses'):
            superpixels(halves(), 'slic', dict(pieces=3))
    monkeypatch.setitem(sys.modules, 'skimage', None)
    with pytest.raises(ConfigError, match='pip install scikit-image'):
        superpixels(halves(), 'slic')
