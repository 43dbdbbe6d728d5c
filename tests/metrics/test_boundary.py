"""Boundary IoU against erosions of each class's mask."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import (
    ClassCounts,
    SegmentationScores,
    boundary_band,
    boundary_counts,
    confusion_matrix,
)


def blobs(rng: np.random.Generator, labels: list[int], *size: int) -> np.ndarray:
    """Rectangles of random labels over each other."""
    label_map = np.zeros(size, np.uint8)
    for _ in range(12):
        top, left = rng.integers(0, size[0] - 4), rng.integers(0, size[1] - 4)
        height, width = rng.integers(4, 20, 2)
        label_map[top : top + height, left : left + width] = rng.choice(labels)
    return label_map


def outline(mask: np.ndarray, width: int) -> np.ndarray:
    """The definition: a mask less its erosion, with nothing beyond the border."""
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=width)


def test_equals_the_erosion_of_each_mask() -> None:
    rng = np.random.default_rng(0)
    for size, width in (((60, 91), 2), ((40, 33), 1), ((130, 175), 4)):
        assert max(1, round(0.02 * np.hypot(*size))) == width
        truth = blobs(rng, [0, 1, 2, 255], *size)
        found = blobs(rng, [0, 1, 2], *size)
        counts = boundary_counts(found, truth, 4)
        seen = np.where(truth == 255, 255, found)
        for c in range(4):
            true_line = outline(truth == c, width)
            found_line = outline(seen == c, width)
            assert counts.target[c] == true_line.sum()
            assert counts.predicted[c] == found_line.sum()
            assert counts.true_positives[c] == (true_line & found_line).sum()


def test_band_by_hand() -> None:
    label_map = np.zeros((7, 9), np.uint8)
    label_map[:, 5:] = 3
    expected = np.ones((7, 9), bool)
    expected[1:6, 1:4] = False  # neither the border nor column 5 within one pixel
    expected[1:6, 6:8] = False
    np.testing.assert_array_equal(boundary_band(label_map, 1), expected)
    assert boundary_band(label_map, 4).all()


def test_right_label_maps_score_100_whatever_they_say_where_truth_is_ignored() -> None:
    rng = np.random.default_rng(1)
    truth = blobs(rng, [0, 1, 2], 50, 80)
    found = truth.copy()
    truth[20:30] = 255
    found[20:30] = blobs(rng, [0, 1, 2], 10, 80)
    scores = SegmentationScores(
        confusion_matrix(found, truth, 3), 'irn', boundary_counts(found, truth, 3)
    )
    np.testing.assert_allclose(scores.boundary_iou, 100)
    assert scores.boundary_miou == pytest.approx(100)


def test_an_error_at_the_outline_weighs_more_than_in_the_mask() -> None:
    truth = np.zeros((100, 150), np.uint8)
    truth[10:90, 20:130] = 1
    found = np.roll(truth, 3, axis=1)
    scores = SegmentationScores(
        confusion_matrix(found, truth, 2), 'acr', boundary_counts(found, truth, 2)
    )
    assert scores.iou[1] == pytest.approx(100 * 107 / 113)
    # Of width 4: the two long sides share columns, the sides that moved one of four.
    shared = 2 * 4 * (107) + 2 * 1 * (80 - 8)
    each = 80 * 110 - 72 * 102
    assert scores.boundary_iou[1] == pytest.approx(100 * shared / (2 * each - shared))
    assert scores.boundary_iou[1] < scores.iou[1]
    assert scores.table(['background', 'thing'])[1]['boundary_iou'] < 80


def test_counts_of_images_add_up_and_absent_classes_follow_the_convention() -> None:
    rng = np.random.default_rng(2)
    pairs = [(blobs(rng, [0, 1], 40, 60), blobs(rng, [0, 1], 40, 60)) for _ in 'ab']
    parts = [np.stack(boundary_counts(*pair, 4)) for pair in pairs]
    counts = ClassCounts(*sum(parts))
    iou = counts.true_positives[:2] / counts.union[:2]
    empty = np.zeros((4, 4), np.int64)
    for convention, classes in (('acr', 4), ('irn', 2)):
        scores = SegmentationScores(empty, convention, counts)
        assert scores.boundary_miou == pytest.approx(100 * iou.sum() / classes)
        assert np.isnan(scores.boundary_iou[2:]).all()


def test_what_does_not_fit_is_refused() -> None:
    ones = np.ones((4, 6), np.uint8)
    with pytest.raises(DataError, match='prediction has the label 1'):
        boundary_counts(ones, 0 * ones, 1)
    with pytest.raises(DataError, match='both must be of the image'):
        boundary_counts(ones, ones.T, 2)
    for wrong in (dict(dilation_ratio=0), dict(num_classes=255)):
        with pytest.raises(ConfigError, match='at most 254 classes'):
            boundary_counts(ones, ones, **{'num_classes': 2, **wrong})
