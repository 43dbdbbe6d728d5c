"""Stages that measure seeds and label maps against ground-truth masks."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import without_failed
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import gather, rank, share_of
from wsss_plugins.errors import DataError
from wsss_plugins.metrics import (
    ClassCounts,
    SeedIoU,
    SegmentationScores,
    SweepResult,
    boundary_counts,
    confusion_matrix,
    mean_iou,
    save_confusion,
    usual_thresholds,
)
from wsss_plugins.progress import ProgressBar
from wsss_plugins.refiners import CRITERIA, label_free_threshold, score_histogram
from wsss_plugins.refiners.threshold import FOREGROUND_SHARE, NUM_BINS
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.means import convention_for, counted, labels_of
from wsss_plugins.structures import Seed, atomic_path, load_label_map, save_json
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import (
    CLASSES_FILE,
    IMAGES_FILE,
    SCORES_FILE,
    label_path,
    seed_path,
)
from wsss_plugins.structures.measured import Measured


class MaskStage(Stage):
    """Base class of evaluation stages: a data set with masks, and a loop over its images.

    Images on which the measured stage failed are left out; the metric ``left_out`` is
    their number.
    """

    needs_every_image = False

    def __init__(self, name: str, source: str, dataset: dict[str, Any]) -> None:
        super().__init__(name)
        self.source = source
        self.inputs = (source,)
        self.dataset = dict(dataset, test_mode=True)

    def measured(self) -> Measured:
        """Declares the measured images, and that their masks are read."""
        return Measured(images=self.dataset, masks=True)

    def _images(self, source: Path) -> WSSSDataset:
        """Builds the data set of the images to measure."""
        return build_as(DATASETS, without_failed(self.dataset, source), WSSSDataset)

    def _share(self, dataset: WSSSDataset) -> Iterator[tuple[int, str]]:
        """Yields index and id of each image that this worker measures."""
        names = dataset.ids
        mine = share_of(range(len(names)))
        with ProgressBar(self.name, len(mine), quiet=rank() != 0) as bar:
            for index in mine:
                yield index, names[index]
                bar.advance()


class _IoUStage(MaskStage):
    """An evaluation stage whose mIoU follows a published convention."""

    reads_photos = False

    def __init__(
        self,
        name: str,
        source: str,
        dataset: dict[str, Any],
        convention: str | None,
        mean_over: Sequence[str] = (),
    ) -> None:
        super().__init__(name, source, dataset)
        self.convention = convention_for(dataset, convention)
        self.mean_over = tuple(mean_over)

    def measured(self) -> Measured:
        """Declares the measured images, the convention and the classes of the means."""
        protocol = dict(convention=self.convention)
        if self.mean_over:
            protocol['mean over'] = ', '.join(('background', *self.mean_over))
        return replace(super().measured(), protocol=protocol)

    def _labels_of_means(self, classes: Sequence[str]) -> tuple[int, ...]:
        """Labels of the background and of ``mean_over``; none where that is empty."""
        return labels_of(self.mean_over, classes, self.name)


@STAGES.register_module()
class EvaluateSeedStage(_IoUStage):
    """Measures the mIoU of seeds at every threshold, in one pass over the images.

    Writes ``scores.json`` with the curve of mIoU over thresholds, the area under it, all
    measures at the best threshold (``best``), and under ``label_free`` the threshold that
    each criterion of :func:`label_free_threshold` chooses and its regret, which is the
    difference between the highest mIoU and the mIoU at that threshold. ``classes.csv``
    has the measures of each class at the best threshold.

    Args:
        name: Name of the stage.
        seeds: Name of the stage that made the seeds.
        dataset: Config of the images with ``label_maps``.
        thresholds: Thresholds in ascending order; by default 0.00, 0.01 ... 0.99 and
            some between 0.00 and 0.01, see :func:`usual_thresholds`.
        convention: How the mIoU is computed and the best threshold is found, a name in
            :data:`CONVENTIONS`. With 'acr' the IoU of absent classes counts as 0. By
            default 'acr', and 'present' for a folder of one's own photos.
        foreground_share: Argument of :func:`label_free_threshold`.
        mean_over: Names of the classes that means are over, beside the background; all by
            default. For data that show only some of the classes that were trained: pixels
            of the others still count as errors.

    Raises:
        ConfigError: ``convention`` is not in :data:`CONVENTIONS`, or ``thresholds`` is
            empty, has a negative value, or does not increase.
    """

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        thresholds: Sequence[float] | None = None,
        convention: str | None = None,
        foreground_share: float = FOREGROUND_SHARE,
        mean_over: Sequence[str] = (),
    ) -> None:
        super().__init__(name, seeds, dataset, convention, mean_over)
        if thresholds is not None:
            SeedIoU(1, thresholds)  # refuses wrong ones before any stage runs
        self.thresholds = thresholds
        self.foreground_share = foreground_share

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Measures the seeds of all images at every threshold."""
        source = inputs[self.source]
        dataset = self._images(source)
        classes = list(dataset.metainfo['classes'])
        sweep = SeedIoU(
            len(classes) - 1,
            usual_thresholds(self.convention)
            if self.thresholds is None
            else self.thresholds,
        )
        pooled = np.zeros(NUM_BINS, np.int64)
        for index, name in self._share(dataset):
            path = seed_path(source, name)
            seed, mask = Seed.load(path), dataset.load_mask(index)
            require_same_size(path, seed.size, mask.shape)
            try:
                sweep.update(seed.scores.numpy(), seed.classes.numpy(), mask)
            except DataError as error:
                raise DataError(f'{path}: {error}') from error
            pooled += score_histogram(seed.scores.numpy())
        parts = gather((sweep.histogram, pooled))
        sweep.histogram, pooled = (np.sum(part, 0) for part in zip(*parts, strict=True))
        result = sweep.compute(self.convention, self._labels_of_means(classes))
        chosen = self._label_free(result, pooled)
        if rank() == 0:
            scores = dict(result.to_dict(), label_free=chosen)
            save_json(out / SCORES_FILE, dict(classes=classes) | scores)
            _save_table(out / CLASSES_FILE, result.best.table(classes))
        return dict(
            best_miou=round(result.best_miou, 3),
            best_threshold=result.best_threshold,
            fp_rate=round(result.best.mean_false_positive_rate, 3),
            fn_rate=round(result.best.mean_false_negative_rate, 3),
            area_under_curve=round(result.area_under_curve, 3),
            **{f'{name}_regret': round(c['regret'], 3) for name, c in chosen.items()},
            **counted(result.best, len(dataset), self.name),
            **_left_out(dataset),
        )

    def measured(self) -> Measured:
        """Declares the images, the convention and the best threshold found on masks."""
        best = Threshold(self.name, Source.MASKS, 'the best')
        return replace(
            super().measured(), thresholds=(best,), threshold_metric='best_threshold'
        )

    def _label_free(
        self, result: SweepResult, pooled: np.ndarray
    ) -> dict[str, dict[str, float]]:
        """Threshold, mIoU and regret of each label-free criterion.

        The dict is empty if the scores have fewer than two different values.
        """
        if np.count_nonzero(pooled) < 2:
            return {}
        found = {}
        for criterion in CRITERIA:
            chosen = label_free_threshold(pooled, criterion, self.foreground_share)
            miou = result.at(result.nearest(chosen)).miou
            regret = float(result.miou.max()) - miou
            found[criterion] = dict(threshold=chosen, miou=miou, regret=regret)
        return found


@STAGES.register_module()
class EvaluateLabelStage(_IoUStage):
    """Measures mIoU, FP and FN rates and boundary IoU of label maps.

    Writes ``scores.json``, the measures of each class (``classes.csv``), the confusion
    matrix (:func:`save_confusion`), and ``per_image.json`` with the mIoU of each image
    over the classes in its mask or in its label map.

    Args:
        name: Name of the stage.
        labels: Name of the stage that wrote ``labels/<id>.png``.
        dataset: Config of the images with ``label_maps``.
        convention: How the mIoU is computed, a name in :data:`CONVENTIONS`. With 'acr' the
            IoU of absent classes counts as 0. By default 'acr', and 'present' for a folder
            of one's own photos.
        mean_over: Names of the classes that means are over, beside the background; all by
            default. For data that show only some of the classes that were trained: pixels
            of the others still count as errors.

    Raises:
        ConfigError: ``convention`` is not in :data:`CONVENTIONS`.
    """

    def __init__(
        self,
        name: str,
        labels: str,
        dataset: dict[str, Any],
        convention: str | None = None,
        mean_over: Sequence[str] = (),
    ) -> None:
        super().__init__(name, labels, dataset, convention, mean_over)

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Measures the label maps of all images."""
        source = inputs[self.source]
        dataset = self._images(source)
        classes = list(dataset.metainfo['classes'])
        confusion = np.zeros((len(classes), len(classes)), np.int64)
        outlines = np.zeros((3, len(classes)), np.int64)
        per_image = {}
        for index, name in self._share(dataset):
            path = label_path(source, name)
            label, mask = load_label_map(path, len(classes)), dataset.load_mask(index)
            require_same_size(path, label.shape, mask.shape)
            counts = confusion_matrix(label, mask, len(classes))
            per_image[name] = round(100 * float(mean_iou(counts, 'found')), 2)
            confusion += counts
            outlines += np.stack(boundary_counts(label, mask, len(classes)))
        parts = gather((confusion, outlines))
        confusion, outlines = (np.sum(part, 0) for part in zip(*parts, strict=True))
        per_image = {
            name: iou for part in gather(per_image) for name, iou in part.items()
        }
        over = self._labels_of_means(classes)
        scores = SegmentationScores(
            confusion, self.convention, ClassCounts(*outlines), over
        )
        if rank() == 0:
            save_json(out / SCORES_FILE, dict(classes=classes) | scores.to_dict())
            save_json(out / IMAGES_FILE, per_image)
            _save_table(out / CLASSES_FILE, scores.table(classes))
            save_confusion(out, confusion, classes)
        return dict(
            miou=round(scores.miou, 3),
            fp_rate=round(scores.mean_false_positive_rate, 3),
            fn_rate=round(scores.mean_false_negative_rate, 3),
            pixel_accuracy=round(scores.pixel_accuracy, 3),
            boundary_miou=round(scores.boundary_miou, 3),
            **counted(scores, len(dataset), self.name),
            **_left_out(dataset),
        )


def _left_out(dataset: WSSSDataset) -> dict[str, int]:
    """The metric ``left_out``; empty if no image was left out."""
    return dict(left_out=len(dataset.leave_out)) if dataset.leave_out else {}


def _save_table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows with equal keys as CSV; None is an empty cell.

    The file is complete or not written.
    """
    with (
        atomic_path(path) as part,
        part.open('w', newline='', encoding='utf-8') as file,
    ):
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def require_same_size(path: Path, size: Sequence[int], mask: Sequence[int]) -> None:
    """Refuses a seed or a label map that does not have the size of its mask.

    Args:
        path: Its file, for the message.
        size: Its height and width.
        mask: Those of the mask.

    Raises:
        DataError: The sizes differ.
    """
    if tuple(size) != tuple(mask):
        raise DataError(
            f'{path} is {size[0]}x{size[1]} but its mask is {mask[0]}x{mask[1]}: '
            'make it again from the same images'
        )
