"""COCO's measures of masks, against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import CocoAP, detections_of_map
from wsss_plugins.metrics.coco_ap import MEASURES

SIZE = (40, 70)
SIDE = 33
"""Of a square object: 33² is a medium area."""


def square(left: int = 1, side: int = SIDE) -> np.ndarray:
    """A square of side ``side`` from column ``left`` on, in an image that is not square."""
    mask = np.zeros(SIZE, bool)
    mask[2 : 2 + side, left : left + side] = True
    return mask


def instance(image: int, left: int = 1, side: int = SIDE, **more: object) -> dict:
    """The annotation of :func:`square`, as a polygon."""
    right, low = left + side, 2 + side
    polygon = [left, 2, right, 2, right, low, left, low]
    base = dict(image_id=image, category_id=3, area=side**2, iscrowd=0)
    return {**base, 'segmentation': [polygon], **more}


def content(*annotations: dict, images: int = 3) -> dict:
    size = dict(height=SIZE[0], width=SIZE[1])
    return dict(
        images=[dict(id=i, **size) for i in range(images)],
        annotations=[dict(each, id=i) for i, each in enumerate(annotations)],
        categories=[dict(id=3, name='car'), dict(id=7, name='train')],
    )


def test_a_wrong_detection_between_two_right_ones() -> None:
    """Precision is 1 up to recall 0.5 and 2/3 after it, at COCO's 101 recalls."""
    metric = CocoAP(content(instance(0), instance(1)))
    metric.update(0, 3, [square()], [0.9])
    metric.update(2, 3, [square()], [0.8])  # an image without any object
    metric.update(1, 3, [square()], [0.7])
    scores = metric.compute()
    assert tuple(scores) == MEASURES
    expected = 100 * (51 + 50 * 2 / 3) / 101
    assert scores['ap'] == scores['ap_medium'] == pytest.approx(expected)
    assert scores['ar'] == scores['ar_1'] == scores['ar_medium'] == 100
    assert scores['ap_small'] is scores['ap_large'] is scores['ar_large'] is None


@pytest.mark.parametrize(('shift', 'hits'), [(0, 10), (4, 6), (11, 1), (12, 0)])
def test_shifted_masks_count_at_the_thresholds_they_reach(shift, hits) -> None:
    """Shifted by s columns, two squares of side a share (a - s) / (a + s)."""
    metric = CocoAP(content(instance(1)))
    metric.update(1, 3, [square(1 + shift)], [0.5])
    share = (SIDE - shift) / (SIDE + shift)
    assert hits == sum(share >= 0.5 + 0.05 * i - 1e-9 for i in range(10))
    scores = metric.compute()
    assert (scores['ap'], scores['ar']) == pytest.approx((10 * hits, 10 * hits))
    assert scores['ap_50'] == pytest.approx(100 if hits else 0)


def test_one_mask_over_two_objects_finds_one_at_most() -> None:
    metric = CocoAP(content(instance(0, 1, 20), instance(0, 40, 20)))
    metric.update(0, 3, [square(1, 20) | square(40, 20)], [1.0])
    scores = metric.compute()
    assert scores['ap_50'] == pytest.approx(100 * 51 / 101), 'it shares 0.5 with each'
    assert scores['ap'] == pytest.approx(10 * 51 / 101)


def test_small_and_large_objects_are_told_apart() -> None:
    metric = CocoAP(content(instance(0, side=31), instance(1, side=36)))
    metric.update(0, 3, [square(side=31)], [1.0])
    scores = metric.compute()
    for key in ('ap', 'ar'):
        assert scores[f'{key}_small'] == pytest.approx(100)
        assert scores[f'{key}_medium'] == 0


def test_categories_are_averaged() -> None:
    metric = CocoAP(content(instance(0), instance(1, category_id=7)))
    metric.update(0, 3, [square()], [0.1])
    metric.update(2, 7, [square()], [0.9])
    assert metric.compute()['ap'] == pytest.approx(50)


def test_a_crowd_is_neither_to_be_found_nor_wrong() -> None:
    crowd = dict(size=list(SIZE), counts=[0, SIZE[0] * SIZE[1]])
    everything = dict(segmentation=crowd, area=2800, iscrowd=1)
    metric = CocoAP(content(instance(0), instance(1, **everything)))
    metric.update(1, 3, [square(1), square(30)], [0.9, 0.8])
    assert metric.compute()['ap'] == 0
    metric.update(0, 3, [square()], [0.1])
    assert metric.compute()['ap'] == pytest.approx(100)


def test_nothing_found_and_nothing_to_find() -> None:
    assert set(CocoAP(content(instance(0, side=20))).compute().values()) == {0, None}
    empty = CocoAP(content())
    assert empty.compute() == dict.fromkeys(MEASURES)
    empty.update(1, 3, [square()], [0.5])
    assert empty.compute() == dict.fromkeys(MEASURES), 'no class to average over'


def test_only_the_images_asked_for() -> None:
    metric = CocoAP(content(instance(0), instance(1)), images=[1])
    metric.update(1, 3, [square()], [0.5])
    assert metric.compute()['ap'] == pytest.approx(100)
    with pytest.raises(DataError, match='image 0, which the instances file'):
        metric.update(0, 3, [square()], [0.5])


def test_workers_join_what_they_found() -> None:
    truth = content(*(instance(i, 1 + 4 * i) for i in range(6)), images=6)
    whole, odd, even = (CocoAP(truth) for _ in range(3))
    for i in range(6):
        part = odd if i % 2 else even
        for metric in (whole, part):
            metric.update(i, 3, [square(1 + 5 * i)], [1 / (1 + i)])
    odd.merge(even)
    assert odd.compute() == whole.compute()
    assert 0 < whole.compute()['ap'] < 100
    with pytest.raises(ConfigError, match='6 and 3 images'):
        whole.merge(CocoAP(content()))


@pytest.mark.filterwarnings('ignore:__array__ implementation')  # of decode
def test_perfect_detections_of_real_photos(shared: Path) -> None:
    path = shared / 'data/coco128/annotations/instances_train2014.json'
    truth = json.loads(path.read_text())
    metric = CocoAP(truth)
    for each in truth['annotations']:
        height, width = metric.sizes[each['image_id']]
        mask = decoded(each['segmentation'], height, width)
        metric.update(each['image_id'], each['category_id'], [mask], [1.0])
    found = metric.compute()
    for key in ('ap', 'ap_50', 'ap_75', 'ap_large', 'ar'):
        assert found[key] == pytest.approx(100), key
    assert found['ar_1'] < 100, 'photos with several objects of one class'


def decoded(polygons: list, height: int, width: int) -> np.ndarray:
    codes = run_lengths.frPyObjects(polygons, height, width)
    return run_lengths.decode(run_lengths.merge(codes))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(segmentation=[]), 'annotation 0 of image 1 is no instance of COCO'),
        (dict(segmentation=[['a', 'b']]), 'annotation 0 of image 1'),
        (dict(segmentation=dict(size=[4, 4], counts=[16])), r'of size \[4, 4\]'),
        (dict(segmentation=dict(size=list(SIZE), counts=[7])), 'run lengths of 7'),
        (dict(area=None), 'repair the instances file'),
    ],
)
def test_broken_annotations_are_named(change: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        CocoAP(content(instance(1, **change)))


def test_broken_detections_are_refused() -> None:
    metric = CocoAP(content(instance(1)))
    with pytest.raises(DataError, match=r'size \(70, 40\), the image of \(40, 70\)'):
        metric.update(1, 3, [square().T], [1.0])
    with pytest.raises(DataError, match='a finite score for each of 1 masks'):
        metric.update(1, 3, [square()], [np.nan])
    with pytest.raises(DataError, match='category 4 in image 1'):
        metric.update(1, 4, [square()], [1.0])
    with pytest.raises(DataError, match='the id list is empty'):
        CocoAP(content(instance(1)), images=[]).compute()
    sizeless = content(instance(1)) | dict(images=[dict(id=1)])
    with pytest.raises(DataError, match='image 1 has no height and width'):
        CocoAP(sizeless)


def test_parts_of_a_map_are_detections_as_sure_as_it_is_high() -> None:
    scores = np.zeros((5, 9))
    scores[0, 0], scores[1, 1] = 0.5, 0.7  # over the corner
    scores[3:, 6:] = 0.9
    scores[4, 8] = 0.4  # not above the threshold
    masks, means = detections_of_map(scores, threshold=0.4)
    np.testing.assert_allclose(means, [0.9, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(masks[0], scores == 0.9)
    np.testing.assert_array_equal(masks[1], (scores == 0.5) | (scores == 0.7))
    masks, means = detections_of_map(scores, threshold=0.4, instances='class')
    np.testing.assert_array_equal(masks, [scores > 0.4])
    assert means == pytest.approx([(5 * 0.9 + 0.5 + 0.7) / 7])
    masks, means = detections_of_map(scores, threshold=0.4, most=1)
    assert len(masks) == 1 and means == pytest.approx([0.9])


def test_otsu_parts_a_map_in_two() -> None:
    rng = np.random.default_rng(0)
    scores = 0.2 + 0.05 * rng.random((12, 20))
    scores[2:8, 3:9] = 0.7 + 0.05 * rng.random((6, 6))
    expected = scores > 0.5
    masks, means = detections_of_map(scores)
    np.testing.assert_array_equal(masks, [expected])
    assert means == pytest.approx([scores[expected].mean()])


@pytest.mark.parametrize('instances', ['components', 'class'])
@pytest.mark.parametrize('threshold', ['otsu', 0.5])
@pytest.mark.parametrize('value', [0.0, 0.3])
def test_a_flat_map_shows_nothing(value, threshold, instances) -> None:
    masks, means = detections_of_map(np.full((3, 7), value), threshold, instances)
    assert masks == [] and means.shape == (0,)


@pytest.mark.parametrize(
    'wrong', [dict(threshold='mean'), dict(threshold=1.0), dict(threshold=True),
              dict(instances='objects')]
)  # fmt: skip
def test_arguments_that_mean_nothing(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=f'{next(iter(wrong))} must be'):
        detections_of_map(np.zeros((3, 7)), **wrong)
