"""Confusion matrices against loops over pixels and the released evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import (
    SegmentationScores,
    class_counts,
    class_mean,
    confusion_matrix,
    false_negative_rate,
    false_positive_rate,
    iou_per_class,
    mean_iou,
)

GOLDEN = Path(__file__).parents[1] / 'golden' / 'eval_seeds.npz'


@pytest.fixture(scope='module')
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as archive:
        return dict(archive)


@pytest.fixture(scope='module')
def confusion(golden: dict[str, np.ndarray]) -> np.ndarray:
    return sum(
        confusion_matrix(golden[f'pred_{i}'], golden[f'gt_{i}'], 21) for i in range(10)
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


def test_golden_counts(golden: dict, confusion: np.ndarray) -> None:
    counts = class_counts(confusion)
    np.testing.assert_array_equal(confusion, golden['evaluator_confusion'])
    np.testing.assert_array_equal(counts.true_positives, golden['png_TP'])
    np.testing.assert_array_equal(counts.predicted, golden['png_P'])
    np.testing.assert_array_equal(counts.target, golden['png_T'])


def test_golden_of_acr_and_mctformer(golden: dict, confusion: np.ndarray) -> None:
    scores = SegmentationScores(confusion)
    close = dict(rtol=0, atol=1e-9)  # the releases add 1e-10 to the union
    np.testing.assert_allclose(
        np.nan_to_num(scores.iou), golden['png_IoU_percent_f64'], **close
    )
    np.testing.assert_allclose(scores.miou, golden['png_mIoU_percent_f64'], **close)
    np.testing.assert_allclose(
        scores.mean_false_positive_rate, golden['png_FP_percent_f64'], **close
    )
    np.testing.assert_allclose(
        scores.mean_false_negative_rate, golden['png_FN_percent_f64'], **close
    )


def test_golden_of_irn_and_deeplab(golden: dict, confusion: np.ndarray) -> None:
    close = dict(rtol=1e-14, atol=0)
    np.testing.assert_allclose(
        false_positive_rate(confusion),
        golden['irn_fp_per_class_f64'],
        rtol=0,
        atol=1e-15,
    )
    np.testing.assert_allclose(
        false_negative_rate(confusion),
        golden['irn_fn_per_class_f64'],
        rtol=0,
        atol=1e-15,
    )
    np.testing.assert_allclose(iou_per_class(confusion), golden['irn_iou_f64'], **close)
    np.testing.assert_allclose(
        mean_iou(confusion, 'nan'), golden['irn_miou_nanmean_f64'], **close
    )
    scores = SegmentationScores(confusion, 'nan')
    np.testing.assert_allclose(
        scores.pixel_accuracy / 100, golden['deeplab_pixel_acc_f64'], **close
    )
    np.testing.assert_allclose(
        class_mean(scores.recall, 'nan') / 100, golden['deeplab_mean_acc_f64'], **close
    )


def test_scores_by_hand() -> None:
    # Class 0: TP 3, P 4, T 5. Class 1: TP 2, P 4, T 3. Class 2 is absent.
    scores = SegmentationScores(np.array([[3, 2, 0], [1, 2, 0], [0, 0, 0]]), 'nan')
    nan = np.nan
    np.testing.assert_allclose(scores.iou, [50, 40, nan])
    np.testing.assert_allclose(scores.false_positive_rate, [100 / 6, 40, nan])
    np.testing.assert_allclose(scores.false_negative_rate, [200 / 6, 20, nan])
    np.testing.assert_allclose(scores.precision, [75, 50, nan])
    np.testing.assert_allclose(scores.recall, [60, 200 / 3, nan])
    assert scores.miou == pytest.approx(45)
    assert scores.pixel_accuracy == pytest.approx(62.5)
    assert SegmentationScores(scores.confusion, 'zero').miou == pytest.approx(30)


def test_a_predicted_class_that_is_not_there_counts_in_both_conventions() -> None:
    confusion = np.array([[3, 1], [0, 0]])
    assert mean_iou(confusion, 'zero') == mean_iou(confusion, 'nan') == 3 / 8


def test_stacks_are_evaluated_at_once() -> None:
    stack = np.random.default_rng(1).integers(0, 9, (5, 3, 3))
    np.testing.assert_array_equal(mean_iou(stack), [mean_iou(c) for c in stack])


def test_scores_as_strict_json() -> None:
    scores = SegmentationScores(np.array([[3, 0], [0, 0]]))
    content = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert content['iou'] == [100, None] and content['miou'] == 50
    assert content['mean_false_negative_rate'] == 0


def test_unknown_convention() -> None:
    with pytest.raises(ConfigError, match="'zero' or 'nan', not 'skip'"):
        mean_iou(np.eye(2), 'skip')  # type: ignore[arg-type]
