"""What is wrong where in label maps: pixels, objects, outlines and classes taken for others.

Formulas and sources are in ``docs/methods.md``, 'Errors of label maps'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics.boundary import boundary_band
from wsss_plugins.metrics.confusion import (
    ClassCounts,
    class_counts,
    confusion_matrix,
    mean_iou,
    ratio,
)
from wsss_plugins.metrics.regions import class_regions, size_names, sizes_of
from wsss_plugins.structures import IGNORE

WIDTHS = (3, 6, 12)
"""Distances from an outline of the ground truth, in pixels."""
FOUND = 0.1
"""An object of which a smaller share is found counts as missed, and a region of which a
smaller share is right as a false object (Hoiem et al., ECCV 2012, use this overlap)."""
LEAST = 25
"""Pixels of the smallest region that counts as an object."""

KINDS = ('missed', 'false', 'confused')
"""Kinds of wrong pixels: an object taken for background, background taken for an object,
and one class taken for another."""


class LabelErrors:
    """Collects the errors of label maps image by image, and computes their shares.

    Args:
        num_classes: L, the number of labels, background counted, >= 2.
        widths: Distances from an outline of the ground truth, in pixels, increasing.
        found: Share of an object, in (0, 1], below which it is missed; likewise for false
            objects.
        least: Pixels of the smallest object, >= 1.

    Attributes:
        images: Errors of each image by id: numbers of objects, and percentages.

    Raises:
        ConfigError: An argument is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int] = WIDTHS,
        found: float = FOUND,
        least: int = LEAST,
    ) -> None:
        if not (
            num_classes >= 2 and 0 < found <= 1 and least >= 1 and min(widths) >= 1
        ):
            raise ConfigError(
                'errors of label maps need at least 2 labels, a share found in (0, 1], '
                f'least >= 1 and widths >= 1, not {num_classes}, {found}, {least} and '
                f'{tuple(widths)}'
            )
        self.num_classes, self.widths = num_classes, tuple(widths)
        self.found, self.least = found, least
        square, line = (num_classes, num_classes), (3, num_classes)
        shapes: dict[str, tuple[int, ...]] = dict(
            confusion=square,
            near=(len(self.widths), *square),
            tagged=square,
            pairs=square,
            alone=line,
            accompanied=line,
        )
        self._sums = {key: np.zeros(shape, np.int64) for key, shape in shapes.items()}
        self._objects = [np.zeros((0, 3), np.int64)]
        self._regions = [np.zeros((0, 3), np.int64)]
        self.images: dict[str, dict[str, float | int | None]] = {}

    def update(
        self, name: str, prediction: np.ndarray, target: np.ndarray, tags: np.ndarray
    ) -> None:
        """Adds an image.

        Args:
            name: Id of the image.
            prediction: Label map ``(H, W)`` uint8; a pixel with 255 counts as background.
            target: Ground truth ``(H, W)`` uint8, 255 where it is not known.
            tags: Image-level labels ``(L - 1,)`` in {0, 1}.

        Raises:
            DataError: The sizes differ, or a label is not below ``num_classes``.
        """
        given = np.where(prediction == IGNORE, 0, prediction)
        confusion = confusion_matrix(given, target, self.num_classes)
        if len(tags) != self.num_classes - 1:
            raise DataError(
                f'{name} has {len(tags)} image-level labels, and there are '
                f'{self.num_classes - 1} classes: both must be of one data set'
            )
        bands = [boundary_band(target, width, border=False) for width in self.widths]
        near = np.stack(
            [
                confusion_matrix(
                    given, np.where(band, target, IGNORE), self.num_classes
                )
                for band in bands
            ]
        )
        shown = np.concatenate([[False], np.asarray(tags) > 0])
        counts = np.stack(class_counts(confusion))
        self._sums['confusion'] += confusion
        self._sums['near'] += near
        self._sums['tagged'] += confusion * shown
        self._sums['pairs'] += confusion > 0
        company = 'alone' if shown.sum() == 1 else 'accompanied'
        self._sums[company] += counts * shown
        counted = target != IGNORE
        objects = class_regions(target, given, counted, self.least)
        regions = class_regions(given, target, counted, self.least)
        self._objects.append(objects)
        self._regions.append(regions)
        self.images[name] = self._of_image(confusion, near, objects, regions)

    def _of_image(
        self,
        confusion: np.ndarray,
        near: np.ndarray,
        objects: np.ndarray,
        regions: np.ndarray,
    ) -> dict[str, float | int | None]:
        """The errors of one image."""
        numbers: dict[str, float | int | None] = dict(
            miou=percent(mean_iou(confusion, 'found')),
            objects=len(objects),
            missed_objects=int(self._is_lost(objects).sum()),
            regions=len(regions),
            false_objects=int(self._is_lost(regions).sum()),
            **kinds_of_pixels(confusion),
        )
        for width, matrix in zip(self.widths, near, strict=True):
            numbers[f'near_{width}'] = wrong_share(matrix)
        return numbers

    def _is_lost(self, regions: np.ndarray) -> np.ndarray:
        """Which regions ``(N, 3)`` agree on less than the share ``found``, ``(N,)`` bool."""
        return np.asarray(regions[:, 2] < self.found * regions[:, 1])

    def state(self) -> dict[str, Any]:
        """All that was collected, for :meth:`load` of another process."""
        return dict(
            sums=dict(self._sums),
            objects=np.concatenate(self._objects),
            regions=np.concatenate(self._regions),
            images=dict(self.images),
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Adds what another process collected with the same arguments."""
        for key, value in state['sums'].items():
            self._sums[key] = self._sums[key] + value
        self._objects.append(state['objects'])
        self._regions.append(state['regions'])
        self.images |= state['images']

    def compute(self, classes: Sequence[str]) -> dict[str, Any]:
        """The errors of all images together, as numbers and lists for JSON.

        Args:
            classes: L names, background first.

        Returns:
            ``pixels`` (shares of all counted pixels), ``objects``, ``sizes``, ``boundary``,
            ``per_class`` and ``confusions``; percentages, None for 0 / 0.

        Raises:
            DataError: No image was added.
        """
        if not self.images:
            raise DataError('no image to examine: the id list is empty')
        confusion = self._sums['confusion']
        objects, regions = map(np.concatenate, (self._objects, self._regions))
        wrong = confusion.sum() - np.trace(confusion)
        boundary = [
            dict(
                width=width,
                wrong=wrong_share(near),
                share_of_wrong=percent(
                    ratio(near.sum() - np.trace(near), np.asarray(wrong))
                ),
                miou=percent(mean_iou(near, 'found')),
            )
            for width, near in zip(self.widths, self._sums['near'], strict=True)
        ]
        beyond = confusion - self._sums['near'][-1]
        sizes = [sizes_of(rows[:, 1]) for rows in (objects, regions)]
        return dict(
            classes=list(classes),
            images=len(self.images),
            pixels=kinds_of_pixels(confusion),
            objects=self._counted(objects, regions),
            sizes={
                name: self._counted(objects[sizes[0] == i], regions[sizes[1] == i])
                for i, name in enumerate(size_names())
            },
            boundary=boundary,
            beyond=wrong_share(beyond),
            per_class=[
                self._of_class(label, str(classes[label]), objects, regions)
                for label in range(1, self.num_classes)
            ],
            confusions=self._confusions(classes),
        )

    def _counted(self, objects: np.ndarray, regions: np.ndarray) -> dict[str, Any]:
        """Numbers of objects and regions, and the shares of missed and false ones."""
        lost, false = self._is_lost(objects), self._is_lost(regions)
        shares = objects[:, 2] / objects[:, 1] if len(objects) else np.array([np.nan])
        return dict(
            objects=len(objects),
            missed=percent(ratio(lost.sum(), np.asarray(len(objects)))),
            found=percent(shares.mean()),
            regions=len(regions),
            false=percent(ratio(false.sum(), np.asarray(len(regions)))),
        )

    def _of_class(
        self, label: int, name: str, objects: np.ndarray, regions: np.ndarray
    ) -> dict[str, Any]:
        """The errors of one class; ``objects`` and ``regions`` are of all classes."""
        confusion, tagged = self._sums['confusion'], self._sums['tagged']
        own = objects[objects[:, 0] == label]
        made = regions[regions[:, 0] == label]
        hit = confusion[label, label]
        others = [k for k in range(1, self.num_classes) if k != label]
        truth, found = confusion[label].sum(), confusion[:, label].sum()
        true_shares = dict(
            as_background=confusion[label, 0],
            as_tagged=tagged[label, others].sum(),
            as_untagged=(confusion - tagged)[label, others].sum(),
        )
        found_shares = dict(
            on_background=confusion[0, label],
            on_others=confusion[others, label].sum(),
            where_untagged=(confusion - tagged)[:, label].sum(),
        )
        by_size = [own[sizes_of(own[:, 1]) == i] for i in range(len(size_names()))]
        return dict(
            {'class': name},
            iou=percent(ratio(hit, truth + found - hit)),
            **self._counted(own, made),
            **{
                f'found_{size}': self._counted(rows, made)['found']
                for size, rows in zip(size_names(), by_size, strict=True)
            },
            **{k: percent(ratio(v, truth)) for k, v in true_shares.items()},
            **{k: percent(ratio(v, found)) for k, v in found_shares.items()},
            confusion_ratio=float((found - hit) / hit) if hit else None,
            **{
                f'iou_near_{width}': percent(_iou(class_counts(near), label))
                for width, near in zip(self.widths, self._sums['near'], strict=True)
            },
            **{
                f'iou_{company}': percent(
                    _iou(ClassCounts(*self._sums[company]), label)
                )
                for company in ('alone', 'accompanied')
            },
        )

    def _confusions(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Pairs of classes of which one is taken for the other, most pixels first."""
        confusion, tagged = self._sums['confusion'], self._sums['tagged']
        labels = range(1, self.num_classes)
        pairs = [(a, b) for a in labels for b in labels if a != b and confusion[a, b]]
        pairs.sort(key=lambda pair: -confusion[pair])
        return [
            dict(
                truth=str(classes[a]),
                taken_for=str(classes[b]),
                pixels=int(confusion[a, b]),
                share=percent(ratio(confusion[a, b], confusion[a].sum())),
                images=int(self._sums['pairs'][a, b]),
                tagged=percent(ratio(tagged[a, b], confusion[a, b])),
            )
            for a, b in pairs
        ]


def kinds_of_pixels(confusion: np.ndarray) -> dict[str, float | None]:
    """Wrong pixels of an image or of a data set, in percent of the counted ones.

    Args:
        confusion: ``(L, L)`` int64, rows = ground truth, background first.

    Returns:
        ``wrong`` and its parts, :data:`KINDS`; None where no pixel is counted.
    """
    total = confusion.sum()
    missed, false = confusion[1:, 0].sum(), confusion[0, 1:].sum()
    wrong = total - np.trace(confusion)
    parts = (wrong, missed, false, wrong - missed - false)
    return {
        key: percent(ratio(part, total))
        for key, part in zip(('wrong', *KINDS), parts, strict=True)
    }


def wrong_share(confusion: np.ndarray) -> float | None:
    """Wrong pixels in percent of the counted ones; None where there are none."""
    return percent(ratio(confusion.sum() - np.trace(confusion), confusion.sum()))


def _iou(counts: ClassCounts, label: int) -> np.ndarray:
    """IoU of one label."""
    return ratio(counts.true_positives[label], counts.union[label])


def percent(share: Any) -> float | None:
    """A share in [0, 1] as a rounded percentage for JSON; None for NaN."""
    return None if np.isnan(share) else round(100 * float(share), 3)
