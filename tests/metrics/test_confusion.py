"""Confusion matrices against loops over pixels, and the measures by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import (
    CONVENTIONS,
    SegmentationScores,
    confusion_matrix,
    mean_iou,
)


def test_matches_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(0)
    prediction = rng.integers(0, 4, (7, 11)).astype(np.uint8)
    target = rng.choice([0, 1, 2, 3, 255], (7, 11)).astype(np.uint8)
    expected = np.zeros((4, 4), np.int64)
    for p, t in zip(prediction.ravel(), target.ravel(), strict=True):
        if t != 255:
            expected[t, p] += 1
    found = confusion_matrix(prediction, target, 4)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_many_labels_do_not_overflow_uint8() -> None:
    found = confusion_matrix(np.full((2, 3), 80, np.uint8), np.full((2, 3), 79), 81)
    assert found[79, 80] == 6 and found.sum() == 6


def test_another_ignored_label() -> None:
    found = confusion_matrix([[0, 1, 1]], [[0, 0, 1]], 2, ignore_index=0)
    np.testing.assert_array_equal(found, [[0, 0], [0, 1]])


def test_what_is_predicted_where_truth_is_ignored_does_not_matter() -> None:
    assert confusion_matrix([[255, 1]], [[255, 1]], 2).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ('prediction', 'target', 'message'),
    [
        ([[0, 1]], [[0], [1]], r'size \(1, 2\), its ground truth \(2, 1\)'),
        ([[0, 3]], [[0, 1]], 'prediction has the label 3: allowed are 0 to 2'),
        ([[0, 255]], [[0, 1]], 'prediction has the label 255'),
        ([[0, 1]], [[0, 21]], 'ground truth has the label 21'),
        ([[-1, 1]], [[0, 1]], 'prediction has the label -1'),
    ],
)
def test_bad_label_maps(prediction: list, target: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        confusion_matrix(prediction, target, 3)


HAND = np.array([[3, 2, 0, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]])
"""Class 0: TP 3, P 4, T 5; 1: TP 2, P 5, T 3; 2 is absent; 3: TP 0, P 0, T 1."""


def test_scores_by_hand() -> None:
    scores = SegmentationScores(HAND, 'irn')
    nan = np.nan
    np.testing.assert_allclose(scores.iou, [50, 100 / 3, nan, 0])
    np.testing.assert_allclose(scores.false_positive_rate, [100 / 6, 50, nan, 0])
    np.testing.assert_allclose(scores.false_negative_rate, [100 / 3, 100 / 6, nan, 100])
    np.testing.assert_allclose(scores.precision, [75, 40, nan, nan])
    np.testing.assert_allclose(scores.recall, [60, 200 / 3, nan, 0])
    assert scores.mean_precision == pytest.approx(115 / 2)
    assert scores.mean_recall == pytest.approx(380 / 9)
    assert scores.pixel_accuracy == pytest.approx(500 / 9)
    assert scores.frequency_weighted_iou == pytest.approx((5 * 50 + 100) / 9)
    assert scores.over_activation == pytest.approx(100 * 3 / 2)
    assert scores.under_activation == pytest.approx(100 * 1 / 2)


@pytest.mark.parametrize(
    ('convention', 'miou', 'false_positive', 'false_negative'),
    [
        ('acr', 250 / 3 / 4, (100 / 6 + 50) / 4, (100 / 3 + 100 / 6 + 100) / 4),
        ('mctformer', 250 / 3 / 4, (100 / 6 + 50) / 4, (100 / 3 + 100 / 6 + 100) / 4),
        ('irn', 250 / 3 / 3, 50 / 2, (100 / 6 + 100) / 2),
        ('seam', 250 / 3 / 4, 150, 50),
        ('deeplab', 250 / 3 / 3, (100 / 6 + 50) / 3, (100 / 3 + 100 / 6 + 100) / 3),
    ],
)
def test_conventions_by_hand(
    convention: str, miou: float, false_positive: float, false_negative: float
) -> None:
    scores = SegmentationScores(HAND, convention)
    assert scores.miou == pytest.approx(miou)
    assert scores.mean_false_positive_rate == pytest.approx(false_positive)
    assert scores.mean_false_negative_rate == pytest.approx(false_negative)


def test_every_convention_names_its_source() -> None:
    assert all(convention.source for convention in CONVENTIONS.values())


def test_a_predicted_class_that_is_not_there() -> None:
    confusion = np.array([[3, 1], [0, 0]])
    assert mean_iou(confusion, 'all') == mean_iou(confusion, 'found') == 3 / 8
    assert mean_iou(confusion, 'target') == 3 / 4


def test_stacks_are_evaluated_at_once() -> None:
    stack = np.random.default_rng(1).integers(0, 9, (5, 3, 3))
    np.testing.assert_array_equal(mean_iou(stack), [mean_iou(c) for c in stack])


def test_scores_as_strict_json() -> None:
    scores = SegmentationScores(np.array([[3, 0], [0, 0]]))
    content = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert content['iou'] == [100, None] and content['miou'] == 50
    assert content['mean_false_negative_rate'] == 0
    assert content['convention'] == 'acr' and content['boundary_miou'] is None


def test_table_of_the_classes() -> None:
    rows = SegmentationScores(HAND).table(['background', 'cat', 'dog', 'cow'])
    assert [row['class'] for row in rows] == ['background', 'cat', 'dog', 'cow']
    assert rows[0]['iou'] == 50 and rows[1]['precision'] == 40
    assert rows[2] == dict.fromkeys(rows[2], None) | {'class': 'dog'}


def test_unknown_convention() -> None:
    with pytest.raises(ConfigError, match=r"'all', 'found', 'target'.*not 'skip'"):
        mean_iou(np.eye(2), 'skip')  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'mctfromer': did you mean 'mctformer'"):
        SegmentationScores(np.eye(2), 'mctfromer')
