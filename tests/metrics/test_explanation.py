"""The segmentation protocol against loops over pixels and thresholds."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import (
    ExplanationSegmentation,
    Perturbation,
    f1_score,
    normalise_map,
    precision_recall,
    resize_map,
    segmentation_ap,
)
from wsss_plugins.structures import load_npz, save_npz


def random_images(count=5):
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        size = tuple(rng.integers(4, 12, 2))
        relevance = rng.normal(size=size)
        relevance[::2] = np.round(relevance[::2])  # ties
        images.append((relevance, rng.choice([-1, 0, 1], size, p=[0.2, 0.4, 0.4])))
    return images


def evaluated(images):
    metric = ExplanationSegmentation()
    for relevance, label in images:
        metric.update(relevance, label)
    return metric


def curve_by_thresholds(scores, targets, thresholds):
    """The definition of precision and recall: one pass over the pixels for each."""
    points = []
    for t in thresholds:
        predicted = [
            target for s, target in zip(scores, targets, strict=True) if s >= t
        ]
        precision = sum(predicted) / len(predicted) if predicted else 1
        points.append((precision, sum(predicted) / sum(targets)))
    return [*points, (1, 0)]


def ap_by_thresholds(scores, targets):
    points = curve_by_thresholds(scores, targets, sorted(set(scores)))
    return sum((r0 - r1) * p for (p, r0), (_, r1) in pairwise(points))


def f1_by_pixels(pixels):
    hits = sum(p and t == 1 for p, t in pixels)
    total = sum(p for p, _ in pixels) + sum(t == 1 for _, t in pixels)
    return 2 * hits / total if total else 0.0


def by_hand(relevance, label):
    """All measures of one image, from lists of pixels."""
    low, high = relevance.min(), relevance.max()
    scores = (relevance - low) / (high - low)
    threshold = sum(scores.flat) / scores.size  # ignored pixels count in the mean
    rows = [
        [(s, t) for s, t in zip(*row, strict=True) if t >= 0]
        for row in zip(scores.tolist(), label.tolist(), strict=True)
    ]
    pixels = [pixel for row in rows for pixel in row]
    confusion = np.zeros((2, 2), np.int64)
    for s, t in pixels:
        confusion[t, int(s > threshold)] += 1
    ranked = [(1 - s, t == 0) for s, t in pixels] + [(s, t == 1) for s, t in pixels]
    hard = [[(s > threshold, t) for s, t in row] for row in rows]
    return dict(
        confusion=confusion,
        average_precision=ap_by_thresholds(*zip(*ranked, strict=True)),
        f1=f1_by_pixels([pixel for row in hard for pixel in row]),
        row_f1=np.mean([f1_by_pixels(row) for row in hard if row]),
        blank=False,
    )


def test_every_measure_equals_loops_over_pixels():
    images = random_images()
    rows = evaluated(images).state()
    expected = [by_hand(*image) for image in images]
    for key in expected[0]:
        np.testing.assert_allclose(
            rows[key], [row[key] for row in expected], rtol=1e-12, err_msg=key
        )


def test_totals():
    images = random_images()
    scores = evaluated(images).compute()
    expected = [by_hand(*image) for image in images]
    confusion = sum(row['confusion'] for row in expected)
    (tn, fp), (fn, tp) = confusion.tolist()
    assert scores.segmentation.pixel_accuracy == pytest.approx(
        100 * (tn + tp) / (tn + fp + fn + tp)
    )
    assert scores.segmentation.miou == pytest.approx(
        50 * (tn / (tn + fp + fn) + tp / (tp + fp + fn))
    )
    for key, row in (
        ('mean_ap', 'average_precision'),
        ('mean_f1', 'f1'),
        ('mean_row_f1', 'row_f1'),
    ):
        mean = 100 * np.mean([image[row] for image in expected])
        assert getattr(scores, key) == pytest.approx(mean, rel=1e-12)
    assert scores.mean_f1 != pytest.approx(scores.mean_row_f1, abs=0.1)


def test_curve_is_pooled_over_images():
    images = random_images(3)
    valid = [label >= 0 for _, label in images]
    scores, targets = (
        np.concatenate([part[v] for part, v in zip(parts, valid, strict=True)])
        for parts in (
            [normalise_map(relevance) for relevance, _ in images],
            [label for _, label in images],
        )
    )
    found = evaluated(images).compute()
    expected = curve_by_thresholds(scores, targets, np.arange(257) / 256)
    np.testing.assert_allclose(
        np.stack([found.precision, found.recall], 1), expected, rtol=1e-12
    )


def test_precision_recall_ends_as_in_scikit_learn():
    precision, recall = precision_recall(np.array([[3, 1, 0, 0], [1, 0, 2, 0]]))
    np.testing.assert_allclose(precision, [3 / 7, 2 / 3, 1, 1, 1])
    np.testing.assert_allclose(recall, [1, 2 / 3, 2 / 3, 0, 0])


def test_a_score_equal_to_the_mean_is_background():
    rows = evaluated([([[0.0, 1.0, 2.0]], [[1, 1, 1]])]).state()
    assert rows['confusion'][0].tolist() == [[0, 0], [2, 1]]


def test_scale_and_shift_of_a_map_do_not_matter():
    images = random_images()
    moved = [(4 * relevance - 8, label) for relevance, label in images]
    for key, value in evaluated(images).state().items():
        np.testing.assert_allclose(evaluated(moved).state()[key], value, rtol=1e-12)


@pytest.mark.parametrize(
    'relevance',
    [np.full((2, 3), 0.3), np.array([[0, 1, np.nan]] * 2), [[0, 1, np.inf]] * 2],
    ids=['constant', 'NaN', 'infinite'],
)
def test_a_blank_map_is_background(relevance):
    scores = evaluated([(relevance, [[0, 0, 1], [1, -1, 1]])]).compute()
    assert (scores.images, scores.blank) == (1, 1)
    assert scores.segmentation.confusion.tolist() == [[2, 0], [3, 0]]
    assert (scores.mean_ap, scores.mean_f1, scores.mean_row_f1) == (50, 0, 0)
    assert scores.precision.tolist() == [0.6] + [1] * 257
    assert scores.recall.tolist() == [1] + [0] * 257


def test_images_without_foreground_are_none_in_json():
    relevance = np.arange(6.0).reshape(2, 3)
    scores = evaluated([(relevance, np.zeros((2, 3), int))]).compute()
    content = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert content['pooled_ap'] is None and content['recall'] == [None] * 258
    assert content['pixel_accuracy'] == 50 and content['iou'] == [50, 0]
    assert content['images'] == 1 and content['mean_f1'] == 0


def test_rows_that_are_ignored_do_not_count():
    label = np.array([[1, 0], [-1, -1], [-1, 1]])
    foreground = np.array([[True, True], [True, False], [True, False]])
    np.testing.assert_allclose(f1_score(foreground, label, by_row=True), [2 / 3, 0])
    assert f1_score(foreground, label) == pytest.approx(0.5)


def test_ap_of_several_labels():
    rng = np.random.default_rng(0)
    scores, label = rng.random((4, 3, 5)), rng.integers(-1, 4, (3, 5))
    pairs = [
        (scores[c, y, x], label[y, x] == c)
        for c in range(4)
        for y in range(3)
        for x in range(5)
        if label[y, x] >= 0
    ]
    assert segmentation_ap(scores, label) == pytest.approx(
        ap_by_thresholds(*zip(*pairs, strict=True))
    )


def test_resize_uses_half_pixel_centres():
    found = resize_map(torch.tensor([[0.0, 1.0]]), (1, 4))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[0, 0.25, 0.75, 1]])
    wide = resize_map(np.arange(6).reshape(2, 3), (8, 15))
    assert wide.dtype == np.float64 and wide.shape == (8, 15)


def test_the_dtype_of_a_map_is_that_of_its_scores():
    values = np.random.default_rng(0).random((4, 5))
    assert normalise_map(values.astype(np.float32)).dtype == np.float32
    assert normalise_map(values.astype(np.float16)).dtype == np.float64
    assert normalise_map([[1, 3, 2]]).tolist() == [[0, 1, 0.5]]


def test_workers_equal_one_in_any_order():
    images = random_images(7)
    whole = evaluated(images).compute().to_dict()
    first, second = evaluated(images[1::2]), evaluated(images[::2])
    first.merge(second)
    assert len(first) == 7
    assert first.compute().to_dict() == whole


def test_stored_state_is_resumed(tmp_path):
    images = random_images(4)
    whole = evaluated(images)
    save_npz(tmp_path / 'a.npz', evaluated(images[:2]).state())
    text = json.dumps({k: v.tolist() for k, v in evaluated(images[2:]).state().items()})
    resumed = ExplanationSegmentation()
    resumed.load(load_npz(tmp_path / 'a.npz'))
    resumed.load(json.loads(text))
    for key, value in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[key], value)
    assert resumed.compute().to_dict() == whole.compute().to_dict()


@pytest.mark.parametrize(
    ('relevance', 'label', 'message'),
    [
        (np.ones((2, 3)), np.zeros((3, 2)), r'size \(2, 3\), its labels \(3, 2\)'),
        (np.ones((1, 2, 3)), np.zeros((1, 2, 3)), r'both must be \(H, W\)'),
        (np.ones((1, 2)), [[0, 255]], r'labels hold 255: allowed are 0 \(background\)'),
        (np.ones((1, 2)), [[0, 0.5]], r'labels hold 0.5: allowed'),
        (np.ones((1, 2)), [[-1, -1]], 'every pixel of the labels is ignored'),
    ],
)
def test_bad_input(relevance, label, message):
    metric = ExplanationSegmentation()
    with pytest.raises(DataError, match=message) as error:
        metric.update(relevance, label)
    assert '\n' not in str(error.value) and len(metric) == 0


def test_nothing_to_evaluate():
    with pytest.raises(DataError, match='the id list is empty'):
        ExplanationSegmentation().compute()


def test_only_equal_metrics_merge_and_load():
    metric = evaluated(random_images(1))
    with pytest.raises(
        ConfigError, match=r'ExplanationSegmentation .* and Perturbation'
    ):
        metric.merge(Perturbation())
    with pytest.raises(ConfigError, match='same settings'):
        Perturbation(10).merge(Perturbation(5))
    with pytest.raises(DataError, match='delete it and evaluate again'):
        Perturbation().load(metric.state())
    uneven = {**metric.state(), 'f1': np.zeros(2)}
    with pytest.raises(DataError, match='delete it and evaluate again'):
        metric.load(uneven)
