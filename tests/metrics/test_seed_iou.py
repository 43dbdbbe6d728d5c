"""The one-pass threshold sweep against one evaluation per threshold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import SeedIoU, class_counts, confusion_matrix, mean_iou

GOLDEN = Path(__file__).parents[1] / 'golden' / 'eval_seeds.npz'


@pytest.fixture(scope='module')
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN, allow_pickle=False) as archive:
        return dict(archive)


def accumulate(golden: dict[str, np.ndarray], images: range) -> SeedIoU:
    sweep = SeedIoU(20)
    for i in images:
        sweep.update(golden[f'cams_{i}'], golden[f'keys_{i}'], golden[f'gt_{i}'])
    return sweep


def argmax_label(
    scores: np.ndarray, classes: np.ndarray, threshold: float, num_foreground: int
) -> np.ndarray:
    """The definition: an argmax over the constant and all classes, absent ones 0."""
    stack = np.zeros((1 + num_foreground, *scores.shape[1:]), np.float32)
    stack[0] = threshold
    stack[1 + classes] = scores
    return stack.argmax(0)


def random_image(rng: np.random.Generator, num_foreground: int) -> tuple:
    size = tuple(rng.integers(5, 12, 2))
    classes = rng.permutation(num_foreground)[: rng.integers(0, num_foreground + 1)]
    scores = rng.random((len(classes), *size), dtype=np.float32)
    scores[:, ::2] = np.round(scores[:, ::2] * 10) / 10  # ties, with thresholds too
    target = rng.choice([*range(num_foreground + 1), 255], size).astype(np.uint8)
    return scores, classes, target


def test_golden_curve(golden: dict) -> None:
    result = accumulate(golden, range(10)).compute()
    found = np.stack(class_counts(result.confusion), axis=1)
    np.testing.assert_array_equal(found, golden['acr_curve_TP_P_T'])
    np.testing.assert_allclose(
        result.miou, golden['acr_curve_mIoU_percent_f64'], rtol=0, atol=1e-9
    )
    assert result.best_threshold == 0.4
    assert result.best_miou == pytest.approx(
        golden['acr_curve_mIoU_percent_f64'].max(), abs=1e-9
    )
    # MCTformer's search stops at the first threshold that does not improve.
    stop = int(np.flatnonzero(np.diff(result.miou) <= 0)[0])
    assert result.thresholds[stop] == golden['mct_best_threshold_f64']
    assert result.miou[stop] == pytest.approx(golden['mct_best_mIoU_f64'], abs=1e-9)


def test_equals_one_evaluation_per_threshold() -> None:
    rng = np.random.default_rng(0)
    thresholds = [0.0, 0.1, 0.25, 0.3, 0.7, 0.9]
    sweep = SeedIoU(4, thresholds)
    expected = np.zeros((len(thresholds), 5, 5), np.int64)
    for _ in range(12):
        scores, classes, target = random_image(rng, 4)
        sweep.update(scores, classes, target)
        for i, t in enumerate(thresholds):
            label = argmax_label(scores, classes, t, 4)
            expected[i] += confusion_matrix(label, target, 5)
    result = sweep.compute('nan')
    np.testing.assert_array_equal(result.confusion, expected)
    np.testing.assert_allclose(result.miou, 100 * mean_iou(expected, 'nan'))


def test_a_score_equal_to_the_threshold_is_background() -> None:
    thresholds = np.arange(100) / 100
    sweep = SeedIoU(1)
    sweep.update(thresholds.astype(np.float32)[None, None], [0], np.ones((1, 100), int))
    hits = class_counts(sweep.compute().confusion).true_positives[:, 1]
    np.testing.assert_array_equal(hits, np.arange(99, -1, -1))


def test_ties_go_to_the_lower_class_whatever_the_order() -> None:
    for classes in ([2, 0], [0, 2]):
        sweep = SeedIoU(3, [0.5])
        sweep.update(np.full((2, 1, 1), 0.8), classes, [[1]])
        assert sweep.compute().confusion[0, 1].tolist() == [0, 1, 0, 0]


def test_an_image_without_classes_is_background() -> None:
    sweep = SeedIoU(2, [0.0])
    sweep.update(np.zeros((0, 1, 3), np.float32), [], [[0, 2, 255]])
    assert sweep.compute().confusion[0].tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_accepts_tensors() -> None:
    sweep = SeedIoU(1, [0.5])
    sweep.update(torch.ones(1, 1, 2), torch.tensor([0]), torch.tensor([[1, 0]]))
    assert sweep.compute().confusion[0].tolist() == [[0, 1], [0, 1]]


def test_workers_equal_one(golden: dict) -> None:
    whole, first, second = (
        accumulate(golden, r) for r in (range(10), range(3), range(3, 10))
    )
    first.merge(second)
    np.testing.assert_array_equal(first.histogram, whole.histogram)
    valid = sum((golden[f'gt_{i}'] != 255).sum() for i in range(10))
    assert whole.histogram.dtype == np.int64 and whole.histogram.sum() == valid


def test_best_is_the_top_of_the_curve(golden: dict) -> None:
    result = accumulate(golden, range(10)).compute()
    assert result.best.miou == pytest.approx(result.best_miou)
    assert result.at(0.28).miou == pytest.approx(result.miou[28])
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert len(content['miou']) == len(content['thresholds']) == 100
    assert content['best']['miou'] == pytest.approx(max(content['miou']))
    assert len(content['best']['iou']) == 21


def test_threshold_that_was_not_swept(golden: dict) -> None:
    result = accumulate(golden, range(1)).compute()
    with pytest.raises(ConfigError, match=r'0.405 was not swept: .* from 0 to 0.99'):
        result.at(0.405)


@pytest.mark.parametrize(
    'thresholds', [[], [float('nan')], [-0.1, 0.5], [0.5, 0.5], [0.5, 0.2]]
)
def test_bad_thresholds(thresholds: list[float]) -> None:
    with pytest.raises(ConfigError, match='thresholds must be >= 0 and increase'):
        SeedIoU(2, thresholds)


@pytest.mark.parametrize(
    ('scores', 'classes', 'target', 'message'),
    [
        (np.ones((1, 2, 3)), [0], np.zeros((3, 2)), 'must fit, not'),
        (np.ones((1, 2, 3)), [0, 1], np.zeros((2, 3)), 'must fit, not'),
        (np.ones((1, 1, 1)), [2], [[0]], r'classes \[2\]: allowed are 0 to 1'),
        (np.ones((1, 1, 1)), [0], [[3]], 'label 3: allowed are 0 to 2 and 255'),
        (np.full((1, 1, 1), np.nan), [1], [[0]], 'class 1 are not finite'),
    ],
)
def test_bad_input(
    scores: np.ndarray, classes: list, target: np.ndarray, message: str
) -> None:
    sweep = SeedIoU(2)
    with pytest.raises(DataError, match=message):
        sweep.update(scores, classes, target)
    assert not sweep.histogram.any()


def test_nothing_to_evaluate() -> None:
    sweep = SeedIoU(2)
    sweep.update(np.ones((1, 1, 2)), [0], [[255, 255]])
    with pytest.raises(DataError, match='no pixel to evaluate'):
        sweep.compute()


def test_only_equal_sweeps_merge() -> None:
    with pytest.raises(ConfigError, match='2 and 3 classes'):
        SeedIoU(2).merge(SeedIoU(3))
    with pytest.raises(ConfigError, match='100 and 1 thresholds'):
        SeedIoU(2).merge(SeedIoU(2, [0.5]))


def test_counts_beyond_32_bits() -> None:
    sweep = SeedIoU(1, [0.5])
    sweep.update(np.ones((1, 1, 1)), [0], [[1]])
    sweep.histogram *= 2**33
    assert class_counts(sweep.compute().confusion).true_positives[0, 1] == 2**33
