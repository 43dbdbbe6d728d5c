"""Every array of the released seed evaluations, run on ten small images."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pytest

from wsss_plugins.metrics import (
    SeedIoU,
    SegmentationScores,
    SweepResult,
    class_counts,
    confusion_matrix,
    false_negative_rate,
    false_positive_rate,
    frequency_weighted_iou,
    iou_per_class,
    mean_iou,
    pixel_accuracy,
)

Arrays = dict[str, np.ndarray]
INPUTS = re.compile(r'(gt|pred|keys|cams)_\d+|n_images')


class Measured:
    """What this package finds on the inputs of the golden file."""

    def __init__(self, golden: Arrays) -> None:
        self.golden = golden
        self.images = range(int(golden['n_images']))

    @cached_property
    def confusion(self) -> np.ndarray:
        pairs = [
            (self.golden[f'pred_{i}'], self.golden[f'gt_{i}']) for i in self.images
        ]
        return np.sum([confusion_matrix(*pair, 21) for pair in pairs], axis=0)

    def scores(self, convention: str) -> SegmentationScores:
        return SegmentationScores(self.confusion, convention)

    def sweep(self, convention: str) -> SweepResult:
        sweep = SeedIoU(20)
        for i in self.images:
            sweep.update(*(self.golden[f'{key}_{i}'] for key in ('cams', 'keys', 'gt')))
        return sweep.compute(convention)


@pytest.fixture(scope='module')
def measured(golden) -> Measured:
    return Measured(golden('eval_seeds'))


def foreground_hit(m: Measured) -> np.ndarray:
    return 1 + np.flatnonzero(class_counts(m.confusion).true_positives[1:])


ACR = 1e-9  # the released code adds 1e-10 to the union, percent
EXACT = 0.0
ROUNDING = 1e-15

COMPARED: dict[str, tuple[float, Callable[[Measured], Any]]] = {
    'png_TP': (EXACT, lambda m: class_counts(m.confusion).true_positives),
    'png_P': (EXACT, lambda m: class_counts(m.confusion).predicted),
    'png_T': (EXACT, lambda m: class_counts(m.confusion).target),
    'png_IoU_percent_f64': (ACR, lambda m: np.nan_to_num(m.scores('acr').iou)),
    'png_mIoU_percent_f64': (ACR, lambda m: m.scores('acr').miou),
    'png_FP_percent_f64': (
        ACR,
        lambda m: m.scores('mctformer').mean_false_positive_rate,
    ),
    'png_FN_percent_f64': (
        ACR,
        lambda m: m.scores('mctformer').mean_false_negative_rate,
    ),
    'irn_fp_per_class_f64': (ROUNDING, lambda m: false_positive_rate(m.confusion)),
    'irn_fn_per_class_f64': (ROUNDING, lambda m: false_negative_rate(m.confusion)),
    'irn_iou_f64': (ROUNDING, lambda m: iou_per_class(m.confusion)),
    'irn_miou_nanmean_f64': (ROUNDING, lambda m: mean_iou(m.confusion, 'found')),
    'deeplab_mean_iou_f64': (ROUNDING, lambda m: mean_iou(m.confusion, 'target')),
    'deeplab_pixel_acc_f64': (ROUNDING, lambda m: pixel_accuracy(m.confusion)),
    'deeplab_mean_acc_f64': (
        ROUNDING,
        lambda m: m.scores('deeplab').mean_recall / 100,
    ),
    'deeplab_fwiou_f64': (ROUNDING, lambda m: frequency_weighted_iou(m.confusion)),
    'deeplab_class_iou_f64': (ROUNDING, lambda m: iou_per_class(m.confusion)),
    'evaluator_confusion': (EXACT, lambda m: m.confusion),
    'evaluator_miou_nanmean_f64': (ROUNDING, lambda m: m.scores('irn').miou / 100),
    'evaluator_fwiou_f64': (
        ROUNDING,
        lambda m: m.scores('irn').frequency_weighted_iou / 100,
    ),
    'seam_paper_mFP_f64': (
        ROUNDING,
        lambda m: m.scores('seam').mean_false_positive_rate / 100,
    ),
    'seam_paper_mFN_f64': (
        ROUNDING,
        lambda m: m.scores('seam').mean_false_negative_rate / 100,
    ),
    'seam_paper_fg_classes': (EXACT, foreground_hit),
    'acr_curve_mIoU_percent_f64': (ACR, lambda m: m.sweep('acr').miou),
    'acr_curve_TP_P_T': (
        EXACT,
        lambda m: np.stack(class_counts(m.sweep('acr').confusion), axis=1),
    ),
    'mct_curve_mIoU_percent_f64': (ACR, lambda m: m.sweep('mctformer').miou[:30]),
    'mct_best_threshold_f64': (EXACT, lambda m: m.sweep('mctformer').best_threshold),
    'mct_best_mIoU_f64': (ACR, lambda m: m.sweep('mctformer').best_miou),
}
"""Every golden array that is no input: its absolute tolerance, and what finds it here."""


def test_every_array_is_compared(measured: Measured) -> None:
    results = {name for name in measured.golden if not INPUTS.fullmatch(name)}
    assert results == set(COMPARED)


@pytest.mark.parametrize('name', COMPARED)
def test_golden(measured: Measured, name: str) -> None:
    tolerance, find = COMPARED[name]
    found, expected = np.asarray(find(measured)), measured.golden[name]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_conventions_differ_in_the_best_threshold(measured: Measured) -> None:
    acr, mctformer = measured.sweep('acr'), measured.sweep('mctformer')
    assert (acr.best_threshold, mctformer.best_threshold) == (0.4, 0.28)
    assert round(acr.best_miou, 2) == 13.58 and round(mctformer.best_miou, 2) == 13.31
    # MCTformer's search prints one value more than the best, and stops.
    assert len(measured.golden['mct_curve_mIoU_percent_f64']) == 28 + 2


def test_irn_reports_background_and_foreground_errors_apart(measured: Measured) -> None:
    scores = measured.scores('irn')
    expected = np.nanmean(measured.golden['irn_fp_per_class_f64'][1:])
    assert scores.mean_false_positive_rate / 100 == pytest.approx(expected, abs=1e-15)
    background = measured.golden['irn_fn_per_class_f64'][0]
    assert scores.false_negative_rate[0] / 100 == pytest.approx(background, abs=1e-15)
