"""Average precision and recall of masks as COCO measures them, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from wsss_plugins.errors import ConfigError, DataError

MEASURES = (
    'ap', 'ap_50', 'ap_75', 'ap_small', 'ap_medium', 'ap_large',
    'ar_1', 'ar_10', 'ar', 'ar_small', 'ar_medium', 'ar_large',
)  # fmt: skip
"""What COCO reports, in its order. ``ap`` and ``ar`` are means over the IoU thresholds
0.50, 0.55 ... 0.95; recall counts the best 100 detections of an image and class, ``ar_1``
and ``ar_10`` the best 1 and 10. Small is an area below 32², large above 96² pixels."""

MOST_DETECTIONS = 100
"""Maximum number of detections of one class in one image; others are ignored."""

RunLengths = Mapping[str, Any]
Record = dict[str, Any]


class CocoAP:
    """Accumulates masks found in images against the instances of COCO.

    Masks are kept as run lengths. A category is evaluated by itself, which needs a
    tenth of the memory and gives the same numbers, as COCO averages over categories.

    Source: Lin et al., Microsoft COCO, 2014, and the released evaluation, which ignores
    detections inside crowds.

    Args:
        content: Of an instances file: ``images`` with ``id``, ``height`` and ``width``,
            ``annotations`` with ``image_id``, ``category_id``, ``segmentation``
            (polygons or run lengths), ``area`` and perhaps ``iscrowd``, and
            ``categories`` with ``id``.
        images: Ids of the images to evaluate; all by default.

    Attributes:
        truth: The objects as plain dicts.
        detections: Detections as plain dicts; those of several workers can be
            concatenated.

    Raises:
        DataError: An image has no size, or an annotation is not a mask.
    """

    def __init__(
        self, content: Mapping[str, Any], images: Collection[int] | None = None
    ) -> None:
        self.detections: list[Record] = []
        self.categories = sorted(each['id'] for each in content['categories'])
        wanted = None if images is None else set(images)
        self.sizes = {
            image['id']: _size_of(image)
            for image in content['images']
            if wanted is None or image['id'] in wanted
        }
        self.truth = [
            self._true_record(each)
            for each in content['annotations']
            if each['image_id'] in self.sizes
        ]

    def update(
        self, image: int, category: int, masks: Sequence[ArrayLike], scores: ArrayLike
    ) -> None:
        """Adds the detections of one category in one image.

        Args:
            image: Id of the image.
            category: Id of the category.
            masks: n of ``(H, W)``, what is not 0 belongs to the object.
            scores: ``(n,)`` confidence of each mask, on any scale.

        Raises:
            DataError: The image or category is unknown, a mask is of another size than
                the image, or a score is not finite.
        """
        if image not in self.sizes or category not in self.categories:
            raise DataError(
                f'a detection of category {category} in image {image}, which the '
                'instances file does not list: take that of the same images'
            )
        scores = np.asarray(scores, np.float64)
        if scores.shape != (len(masks),) or not np.isfinite(scores).all():
            raise DataError(
                f'image {image}: there must be a finite score for each of {len(masks)} '
                f'masks, not {scores.tolist()}'
            )
        for mask, score in zip(masks, scores.tolist(), strict=True):
            found = np.asarray(mask) != 0
            if found.shape != self.sizes[image]:
                raise DataError(
                    f'a mask of image {image} is of size {found.shape}, the image of '
                    f'{self.sizes[image]}: resize it first'
                )
            code = run_lengths.encode(np.asfortranarray(found, np.uint8))
            record = _record(image, category, code, float(run_lengths.area(code)))
            self.detections.append(dict(record, score=score))

    def merge(self, other: CocoAP) -> None:
        """Adds the detections of another worker.

        Raises:
            ConfigError: ``other`` was made for other images or other categories.
        """
        if (self.sizes, self.categories) != (other.sizes, other.categories):
            raise ConfigError(
                'only detections in the same images, of the same categories, can be '
                f'merged: {len(self.sizes)} and {len(other.sizes)} images, '
                f'{len(self.categories)} and {len(other.categories)} categories'
            )
        self.detections += other.detections

    def compute(self) -> dict[str, float | None]:
        """Each of :data:`MEASURES`, percent; None where there is no such object to find.

        Raises:
            DataError: No image was added.
        """
        if not self.sizes:
            raise DataError('no image to evaluate: the id list is empty')
        with contextlib.redirect_stdout(io.StringIO()):  # it reports on each step
            truth, found = self._index(self.truth), self._index(self.detections)
            parts = [
                part
                for category in self.categories
                if (part := _evaluated(truth, found, category)) is not None
            ]
            if not parts:
                return dict.fromkeys(MEASURES)
            total = parts[-1]
            for key, axis in (('precision', 2), ('recall', 1)):
                every = [part.eval[key] for part in parts]
                total.eval[key] = np.concatenate(every, axis)
            total.summarize()
        return {
            key: None if value < 0 else 100 * float(value)
            for key, value in zip(MEASURES, total.stats, strict=True)
        }

    def _index(self, records: Sequence[Record]) -> COCO:
        """Records as pycocotools takes them; ids begin with 1, since 0 means no match."""
        images = [
            dict(id=key, height=height, width=width)
            for key, (height, width) in self.sizes.items()
        ]
        coco = COCO()
        coco.dataset = dict(
            images=images,
            annotations=[dict(each, id=i) for i, each in enumerate(records, 1)],
            categories=[dict(id=key) for key in self.categories],
        )
        coco.createIndex()
        return coco

    def _true_record(self, annotation: Mapping[str, Any]) -> Record:
        image = annotation['image_id']
        try:
            code = _encoded(annotation['segmentation'], self.sizes[image])
            area, crowd = float(annotation['area']), int(annotation.get('iscrowd', 0))
            return _record(image, int(annotation['category_id']), code, area, crowd)
        except Exception as error:  # of a kind of its own for each mistake
            raise DataError(
                f'annotation {annotation.get("id", "without id")} of image {image} is '
                f'no instance of COCO ({type(error).__name__}: {error}): repair the '
                'instances file'
            ) from error


def _evaluated(truth: COCO, found: COCO, category: int) -> COCOeval | None:
    """The evaluation of one category, on the images that have or are said to have it."""
    images = {*truth.catToImgs[category], *found.catToImgs[category]}
    if not images:
        return None
    part = COCOeval(truth, found, 'segm')
    part.params.catIds, part.params.imgIds = [category], sorted(images)
    part.evaluate()
    part.accumulate()
    return part


def _record(
    image: int, category: int, code: RunLengths, area: float, crowd: int = 0
) -> Record:
    return dict(
        image_id=image,
        category_id=category,
        segmentation=code,
        area=area,
        iscrowd=crowd,
    )


def _size_of(image: Mapping[str, Any]) -> tuple[int, int]:
    try:
        return int(image['height']), int(image['width'])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'image {image["id"]} has no height and width: repair the instances file'
        ) from error


def _encoded(segmentation: Any, size: tuple[int, int]) -> RunLengths:
    """Polygons or run lengths as compressed run lengths."""
    if not isinstance(segmentation, Mapping):
        polygons = [np.asarray(p, np.float64).ravel().tolist() for p in segmentation]
        return run_lengths.merge(run_lengths.frPyObjects(polygons, *size))
    counts = segmentation['counts']
    if tuple(segmentation['size']) != size:
        raise ValueError(f'a run-length code of size {segmentation["size"]}')
    if not isinstance(counts, list):
        return dict(size=list(size), counts=counts)
    if sum(counts) != size[0] * size[1] or min(counts) < 0:
        raise ValueError(f'run lengths of {sum(counts)} pixels')
    return run_lengths.frPyObjects(dict(segmentation), *size)
