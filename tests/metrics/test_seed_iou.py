"""The one-pass threshold sweep against one evaluation per threshold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import (
    SeedIoU,
    SweepResult,
    class_counts,
    confusion_matrix,
    mean_iou,
)


@pytest.fixture(scope='module')
def images() -> list[tuple]:
    rng = np.random.default_rng(3)
    return [random_image(rng, 20) for _ in range(10)]


def accumulate(images: list[tuple]) -> SeedIoU:
    sweep = SeedIoU(20)
    for image in images:
        sweep.update(*image)
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
    result = sweep.compute('irn')
    np.testing.assert_array_equal(result.confusion, expected)
    np.testing.assert_allclose(result.miou, 100 * mean_iou(expected, 'found'))


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


@pytest.mark.parametrize(
    'thresholds',
    [
        np.arange(100) / 100,
        [0.0],
        [0.3],
        [0.2, 0.9, 5.0],
        [0.1, 0.1 + 1e-7, 0.5],  # closer than a table can tell
        np.linspace(0, 1, 1001)[1:],
        np.sort(np.random.default_rng(0).random(200)),
    ],
    ids=['usual', 'zero', 'one', 'wide', 'near', 'many', 'random'],
)
def test_thresholds_exceeded_are_those_of_a_search(thresholds) -> None:
    sweep = SeedIoU(1, thresholds)
    edges = np.asarray(thresholds, np.float32)
    near = [np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)]
    random = np.random.default_rng(1).random(500, dtype=np.float32)
    far = np.array([0, 1, 7, 1e30, np.finfo(np.float32).max], np.float32)
    scores = np.concatenate([edges, *near, random, far]).clip(0)
    sweep.update(scores[None, None], [0], np.ones((1, len(scores)), int))
    expected = [(scores > t).sum() for t in edges]
    found = class_counts(sweep.compute().confusion).true_positives[:, 1]
    np.testing.assert_array_equal(found, expected)


def test_workers_equal_one(images: list) -> None:
    whole, first, second = map(accumulate, (images, images[:3], images[3:]))
    first.merge(second)
    np.testing.assert_array_equal(first.histogram, whole.histogram)
    valid = sum((target != 255).sum() for *_, target in images)
    assert whole.histogram.dtype == np.int64 and whole.histogram.sum() == valid


def test_best_is_the_top_of_the_curve(images: list) -> None:
    result = accumulate(images).compute()
    assert result.best.miou == pytest.approx(result.best_miou) == result.miou.max()
    assert result.at(0.28).miou == pytest.approx(result.miou[28])
    assert result.nearest(0.283) == 0.28 and result.nearest(7) == 0.99
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert len(content['miou']) == len(content['thresholds']) == 100
    assert content['best']['miou'] == pytest.approx(max(content['miou']))
    assert len(content['best']['iou']) == 21


def make_result(miou: list[float], convention: str = 'acr') -> SweepResult:
    """A sweep over two classes whose curve is ``miou``, in percent."""
    rows = [[[round(100 * m), round(100 * (100 - m))], [0, 0]] for m in miou]
    thresholds = np.array([0.0, 0.1, 0.3, 0.4, 0.8])[: len(miou)]
    result = SweepResult(thresholds, np.array(rows), convention)
    np.testing.assert_allclose(result.miou, np.array(miou) / 2)
    return result


def test_mctformer_stops_at_the_first_threshold_that_is_no_better() -> None:
    curve = [10.0, 30.0, 30.0, 50.0, 20.0]
    assert make_result(curve).best_threshold == 0.4
    stopped = make_result(curve, 'mctformer')
    assert (stopped.best_threshold, stopped.best_miou) == (0.1, 15)
    rising = make_result(sorted(curve[1:]), 'mctformer')
    assert rising.best_threshold == 0.1
    assert make_result([10.0, 20.0, 30.0], 'mctformer').best_threshold == 0.3


def test_area_under_the_curve_is_its_mean_height() -> None:
    assert make_result([40.0, 40.0, 40.0]).area_under_curve == pytest.approx(20)
    heights = (1.5 * 0.1 + 2.5 * 0.2 + 3.5 * 0.1) / 0.4
    assert make_result([2.0, 4.0, 6.0, 8.0]).area_under_curve == pytest.approx(heights)
    assert make_result([50.0]).area_under_curve == pytest.approx(25)


def test_threshold_that_was_not_swept(images: list) -> None:
    result = accumulate(images).compute()
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
