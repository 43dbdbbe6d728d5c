"""Errors of label maps against their definitions, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import LabelErrors, boundary_band, class_regions
from wsss_plugins.metrics.regions import sizes_of

CLASSES = ['background', 'cat', 'dog', 'sofa']


def blobs(
    rng: np.random.Generator, labels: list[int], size: tuple[int, int]
) -> np.ndarray:
    """Rectangles of random labels over each other."""
    label_map = np.zeros(size, np.uint8)
    for _ in range(9):
        top, left = rng.integers(0, size[0] - 3), rng.integers(0, size[1] - 3)
        height, width = rng.integers(2, 14, 2)
        label_map[top : top + height, left : left + width] = rng.choice(labels)
    return label_map


def images(count: int = 5) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Id, label map, ground truth and tags; not square, and of several sizes."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        size = (17 + 3 * i, 29 - 2 * i)
        truth, found = (
            blobs(rng, [0, 1, 2, 3, 255], size),
            blobs(rng, [0, 1, 2, 3], size),
        )
        found = np.where(
            rng.random(size) < 0.6, np.where(truth == 255, found, truth), found
        )
        tags = np.array([(truth == c).any() for c in (1, 2, 3)])
        made.append((f'photo{i}', found.astype(np.uint8), truth, tags))
    one = np.zeros((20, 30), np.uint8)
    one[4:15, 5:20] = 2
    made.append(('alone', np.roll(one, 3, 1), one, np.array([0, 1, 0])))
    return made


def flooded(label_map: np.ndarray) -> list[set[tuple[int, int]]]:
    """Connected pixels of one foreground class, by walking from pixel to pixel."""
    seen: set[tuple[int, int]] = set()
    regions = []
    for start in np.ndindex(label_map.shape):
        label = label_map[start]
        if label in (0, 255) or start in seen:
            continue
        region, pending = set(), [start]
        while pending:
            at = pending.pop()
            if at in region:
                continue
            region.add(at)
            for step in np.ndindex(3, 3):
                there = (at[0] + step[0] - 1, at[1] + step[1] - 1)
                inside = all(
                    0 <= a < n for a, n in zip(there, label_map.shape, strict=True)
                )
                if inside and label_map[there] == label:
                    pending.append(there)
        seen |= region
        regions.append(region)
    return regions


def regions_by_walking(label_map, other, counted, least) -> list[tuple[int, int, int]]:
    rows = []
    for region in flooded(label_map):
        label = int(label_map[next(iter(region))])
        pixels = [at for at in region if counted[at]]
        if len(pixels) >= least:
            rows.append((label, len(pixels), sum(other[at] == label for at in pixels)))
    return rows


def near_by_looking(truth: np.ndarray, width: int) -> np.ndarray:
    """Pixels with another label in the window around them, as far as the image goes."""
    near = np.zeros(truth.shape, bool)
    for y, x in np.ndindex(truth.shape):
        top, left = max(0, y - width), max(0, x - width)
        window = truth[top : y + width + 1, left : x + width + 1]
        near[y, x] = (window != truth[y, x]).any()
    return near


@pytest.mark.parametrize('least', [1, 6])
def test_regions_equal_a_walk_from_pixel_to_pixel(least: int) -> None:
    for _, found, truth, _ in images():
        counted = truth != 255
        for one, other in ((truth, found), (found, truth)):
            rows = class_regions(one, other, counted, least)
            assert rows.dtype == np.int64 and rows.shape[1] == 3
            expected = regions_by_walking(one, other, counted, least)
            assert sorted(map(tuple, rows.tolist())) == sorted(expected)
    assert class_regions(np.zeros((4, 5), np.uint8), truth, counted).shape == (0, 3)


def test_a_region_goes_on_through_ignored_pixels() -> None:
    truth = np.zeros((5, 12), np.uint8)
    truth[1:4, 2:6] = 1
    truth[1:4, 6] = 255
    found = np.zeros_like(truth)
    found[1:4, 2:11] = 1  # over the ignored outline, into the background
    rows = class_regions(found, truth, truth != 255)
    assert rows.tolist() == [[1, 24, 12]], (
        'one region, whose ignored pixels do not count'
    )


@pytest.mark.parametrize('width', [1, 3])
def test_the_band_without_the_border_equals_looking_around(width: int) -> None:
    for _, _, truth, _ in images():
        expected = near_by_looking(truth, width)
        np.testing.assert_array_equal(
            boundary_band(truth, width, border=False), expected
        )
    assert not boundary_band(np.ones((6, 9), np.uint8), 2, border=False).any()


def share(part: float, whole: float) -> float | None:
    return None if whole == 0 else pytest.approx(100 * part / whole, abs=1e-3)


def collected(widths=(1, 3), found=0.4, least=4) -> LabelErrors:
    errors = LabelErrors(4, widths, found, least)
    for name, made, truth, tags in images():
        errors.update(name, made, truth, tags)
    return errors


def test_pixels_and_outlines_equal_their_definitions() -> None:
    errors = collected()
    result = errors.compute(CLASSES)
    pairs = [(t, f) for _, f, t, _ in images()]
    known = [
        (int(a), int(b))
        for t, f in pairs
        for a, b in zip(t.flat, f.flat, strict=True)
        if a != 255
    ]
    kinds = dict(
        wrong=sum(a != b for a, b in known),
        missed=sum(a > 0 and b == 0 for a, b in known),
        false=sum(a == 0 and b > 0 for a, b in known),
        confused=sum(a > 0 and b > 0 and a != b for a, b in known),
    )
    assert result['pixels'] == {k: share(v, len(known)) for k, v in kinds.items()}
    assert result['images'] == 6 and result['classes'] == CLASSES
    far_wrong = far = 0
    for each, width in zip(result['boundary'], (1, 3), strict=True):
        band = [near_by_looking(t, width) & (t != 255) for t, _ in pairs]
        total = sum(b.sum() for b in band)
        wrong = sum(((t != f) & b).sum() for (t, f), b in zip(pairs, band, strict=True))
        ious = []
        for c in range(4):
            both = sum(
                ((t == c) & (f == c) & b).sum()
                for (t, f), b in zip(pairs, band, strict=True)
            )
            any_ = sum(
                (((t == c) | (f == c)) & b).sum()
                for (t, f), b in zip(pairs, band, strict=True)
            )
            ious += [both / any_] if any_ else []
        assert each == dict(
            width=width,
            wrong=share(wrong, total),
            share_of_wrong=share(wrong, kinds['wrong']),
            miou=share(np.mean(ious), 1),
        )
        far_wrong, far = kinds['wrong'] - wrong, len(known) - total
    assert result['beyond'] == share(far_wrong, far)


def test_objects_equal_their_definitions_by_class_and_by_size() -> None:
    result = collected().compute(CLASSES)
    objects, regions = [], []
    for _, found, truth, _ in images():
        objects += regions_by_walking(truth, found, truth != 255, 4)
        regions += regions_by_walking(found, truth, truth != 255, 4)

    def expected(objects, regions) -> dict:
        return dict(
            objects=len(objects),
            missed=share(sum(r < 0.4 * n for _, n, r in objects), len(objects)),
            found=share(sum(r / n for _, n, r in objects), len(objects)),
            regions=len(regions),
            false=share(sum(r < 0.4 * n for _, n, r in regions), len(regions)),
        )

    assert result['objects'] == expected(objects, regions)
    for label, each in enumerate(result['per_class'], 1):
        own = [r for r in objects if r[0] == label]
        made = [r for r in regions if r[0] == label]
        assert each['class'] == CLASSES[label]
        assert {k: each[k] for k in expected([], [])} == expected(own, made)
        assert each['found_small'] == share(sum(r / n for _, n, r in own), len(own))
        assert each['found_large'] is None
    assert result['sizes']['small'] == result['objects'], 'all are below 32 x 32 px'
    assert result['sizes']['large']['objects'] == 0


def test_confusions_and_tags_equal_their_definitions() -> None:
    result = collected().compute(CLASSES)
    count: dict[tuple, int] = {}
    seen: dict[tuple, set] = {}
    sums = {k: {c: [0, 0] for c in (1, 2, 3)} for k in ('alone', 'accompanied')}
    for name, found, truth, tags in images():
        for a, b in zip(truth.flat, found.flat, strict=True):
            if a == 255:
                continue
            tagged = bool(b > 0 and tags[b - 1])
            count[a, b, tagged] = count.get((a, b, tagged), 0) + 1
            seen.setdefault((a, b), set()).add(name)
        for c in (1, 2, 3):
            if tags[c - 1]:
                company = 'alone' if tags.sum() == 1 else 'accompanied'
                known = truth != 255
                sums[company][c][0] += ((truth == c) & (found == c) & known).sum()
                sums[company][c][1] += (((truth == c) | (found == c)) & known).sum()

    def total(a=None, b=None, tagged=None, unequal=False, foreground=False) -> int:
        return sum(
            n
            for (i, j, t), n in count.items()
            if (a is None or i == a)
            and (b is None or j == b)
            and (tagged is None or t == tagged)
            and not (unequal and i == j)
            and not (foreground and (i == 0 or j == 0))
        )

    for c, each in enumerate(result['per_class'], 1):
        of_truth, of_label, hit = total(a=c), total(b=c), total(a=c, b=c)
        others = dict(a=c, unequal=True, foreground=True)
        assert each['iou'] == share(hit, of_truth + of_label - hit)
        assert each['as_background'] == share(total(a=c, b=0), of_truth)
        assert each['as_tagged'] == share(total(**others, tagged=True), of_truth)
        assert each['as_untagged'] == share(total(**others, tagged=False), of_truth)
        assert each['on_background'] == share(total(a=0, b=c), of_label)
        assert each['on_others'] == share(
            total(b=c, unequal=True, foreground=True), of_label
        )
        assert each['where_untagged'] == share(total(b=c, tagged=False), of_label)
        assert each['confusion_ratio'] == pytest.approx((of_label - hit) / hit)
        for company in sums:
            assert each[f'iou_{company}'] == share(*sums[company][c])
    pairs = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b]
    pixels = [each['pixels'] for each in result['confusions']]
    assert pixels == sorted(
        (total(*pair) for pair in pairs if total(*pair)), reverse=True
    )
    for each in result['confusions']:
        a, b = CLASSES.index(each['truth']), CLASSES.index(each['taken_for'])
        assert each['pixels'] == total(a, b) and each['images'] == len(seen[a, b])
        assert each['share'] == share(total(a, b), total(a=a))
        assert each['tagged'] == share(total(a, b, True), total(a, b))


def test_numbers_of_an_image_are_those_of_a_set_of_it_alone() -> None:
    errors = collected()
    for name, made, truth, tags in images():
        one = LabelErrors(4, (1, 3), 0.4, 4)
        one.update(name, made, truth, tags)
        result, numbers = one.compute(CLASSES), errors.images[name]
        assert {k: numbers[k] for k in result['pixels']} == result['pixels']
        assert numbers['objects'] == result['objects']['objects']
        assert (
            share(numbers['missed_objects'], numbers['objects'])
            == result['objects']['missed']
        )
        assert (
            share(numbers['false_objects'], numbers['regions'])
            == result['objects']['false']
        )
        assert numbers['near_3'] == result['boundary'][1]['wrong']


def test_parts_of_several_workers_make_the_same_result() -> None:
    whole, parts = collected(), [LabelErrors(4, (1, 3), 0.4, 4) for _ in range(2)]
    for i, image in enumerate(images()):
        parts[i % 2].update(*image)
    together = LabelErrors(4, (1, 3), 0.4, 4)
    for part in parts:
        together.load(part.state())
    assert together.compute(CLASSES) == whole.compute(CLASSES)
    assert together.images == whole.images


def test_right_label_maps_have_no_errors_and_255_in_them_is_background() -> None:
    errors = LabelErrors(4, (3,))
    for name, _, truth, tags in images():
        errors.update(name, truth, truth, tags)
    result = errors.compute(CLASSES)
    assert set(result['pixels'].values()) == {0} and result['confusions'] == []
    assert result['objects']['missed'] == result['objects']['false'] == 0
    unsure, one = np.full((6, 9), 255, np.uint8), np.ones((6, 9), np.uint8)
    errors = LabelErrors(4)
    errors.update('unsure', unsure, one, np.array([1, 0, 0]))
    assert errors.compute(CLASSES)['pixels']['missed'] == 100


def test_sizes_are_those_of_coco() -> None:
    assert sizes_of(np.array([1, 1023, 1024, 9215, 9216])).tolist() == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(
    'given', [dict(found=0), dict(found=1.1), dict(least=0), dict(widths=(0, 3))]
)
def test_arguments_out_of_range_are_refused(given: dict) -> None:
    with pytest.raises(ConfigError, match='errors of label maps need'):
        LabelErrors(4, **given)


def test_what_does_not_fit_is_refused() -> None:
    errors, square = LabelErrors(3), np.zeros((4, 4), np.uint8)
    with pytest.raises(DataError, match='x has 3 image-level labels'):
        errors.update('x', square, square, np.zeros(3))
    with pytest.raises(DataError, match='size'):
        errors.update('x', square, square[:3], np.zeros(2))
    with pytest.raises(DataError, match='label 3'):
        errors.update('x', square + 3, square, np.zeros(2))
    with pytest.raises(DataError, match='no image'):
        errors.compute(CLASSES[:3])
    assert math.isclose(errors.found, 0.1)
