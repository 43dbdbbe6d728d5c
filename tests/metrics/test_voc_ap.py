"""VOC's average precision of masks on cases that one can count."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from wsss_plugins.metrics import voc_average_precision


def record(image: int, left: int, width: int, **more: Any) -> dict[str, Any]:
    """A bar of the first row."""
    mask = np.zeros((4, 40), np.uint8, order='F')
    mask[0, left : left + width] = 1
    code = run_lengths.encode(mask)
    return dict(dict(image_id=image, category_id=1, segmentation=code), **more)


TRUTH = [record(1, 0, 10), record(1, 20, 10), record(2, 0, 10)]


def ap(*found: dict[str, Any], overlap: float = 0.5) -> float:
    return voc_average_precision(TRUTH, found, overlap)[1]


def test_all_found_is_one_and_none_is_zero() -> None:
    every = [dict(each, score=0.5) for each in TRUTH]
    assert ap(*every) == 1
    assert ap() == 0


def test_precision_is_the_highest_at_that_recall_or_above() -> None:
    right = [
        dict(each, score=s) for each, s in zip(TRUTH, (0.9, 0.7, 0.5), strict=True)
    ]
    wrong = [record(2, 30, 5, score=0.8), record(3, 0, 5, score=0.6)]
    # Precisions at the three hits: 1, 2/3, 3/5; none is exceeded later.
    assert ap(*right, *wrong) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    first = record(3, 0, 5, score=1.0)
    # A false one first: 1/2, 2/3, 3/4, of which the last exceeds the others.
    late = [dict(each, score=s) for each, s in zip(TRUTH, (0.9, 0.8, 0.7), strict=True)]
    assert ap(first, *late) == pytest.approx(3 / 4)


def test_an_object_is_found_once() -> None:
    twice = [record(1, 0, 10, score=s) for s in (0.9, 0.8)]
    assert ap(*twice) == pytest.approx(1 / 3)


@pytest.mark.parametrize(('width', 'right'), [(5, True), (4, False), (20, True)])
def test_half_an_object_is_enough(width: int, right: bool) -> None:
    assert (ap(record(1, 0, width, score=1)) > 0) is right


def test_the_object_that_overlaps_most_counts() -> None:
    """A mask over two objects is compared with the nearer one, though that is taken."""
    best = record(1, 0, 10, score=0.9)
    again = record(1, 0, 11, score=0.8)
    assert ap(best, again) == pytest.approx(1 / 3)


def test_categories_apart_and_only_those_that_occur() -> None:
    other = dict(TRUTH[0], category_id=4, score=1.0)
    assert voc_average_precision(TRUTH, [other]) == {1: 0.0}
