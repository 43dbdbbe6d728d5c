"""Average precision of masks at one overlap, as the field reports it on Pascal VOC."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as run_lengths

Record = Mapping[str, Any]


def voc_average_precision(
    truth: Sequence[Record], found: Sequence[Record], overlap: float = 0.5
) -> dict[int, float]:
    """Average precision of each category that the ground truth has.

    Detections are taken in decreasing order of their scores. One is right if its mask
    overlaps most with an object that no earlier one has found, by at least ``overlap``.
    The precision at a recall is the highest one at that recall or above, and the average
    is the area under that curve.

    Source: Hariharan et al., "Simultaneous Detection and Segmentation", ECCV 2014, and the
    measure of VOC since 2010. IRN (Ahn et al., CVPR 2019) reports its mean over the classes
    as mAP at 0.5.

    Args:
        truth: A record of each object, as in :class:`CocoAP`: ``image_id``,
            ``category_id``, ``segmentation`` (run lengths).
        found: A record of each detection, with a ``score`` besides.
        overlap: Smallest intersection over union.

    Returns:
        The average precision in [0, 1] by category.
    """
    objects, detections = _by_category(truth), _by_category(found)
    return {
        category: _area(*_hits(objects[category], detections[category], overlap))
        for category in sorted(objects)
    }


def _by_category(records: Sequence[Record]) -> dict[int, list[Record]]:
    found = defaultdict[int, list[Record]](list)
    for record in records:
        found[record['category_id']].append(record)
    return found


def _hits(
    truth: Sequence[Record], found: Sequence[Record], overlap: float
) -> tuple[np.ndarray, int]:
    """Whether each detection is right, best first, and the number of objects."""
    there = defaultdict[int, list[Any]](list)
    for record in truth:
        there[record['image_id']].append(record['segmentation'])
    taken = {image: np.zeros(len(codes), bool) for image, codes in there.items()}
    ranked = sorted(found, key=lambda record: -record['score'])
    hits = np.zeros(len(ranked), bool)
    for place, record in enumerate(ranked):
        image = record['image_id']
        if image not in there:
            continue
        codes = there[image]
        shares = run_lengths.iou([record['segmentation']], codes, [0] * len(codes))[0]
        best = int(np.argmax(shares))
        hits[place] = shares[best] >= overlap and not taken[image][best]
        taken[image][best] |= hits[place]
    return hits, len(truth)


def _area(hits: np.ndarray, objects: int) -> float:
    """Area under the curve of the highest precision at each recall or above."""
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest[hits].sum() / objects)
