"""Measuring seeds and label maps against ground truth. Only these stages read masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import DataError
from wsss_plugins.metrics import SeedIoU, SegmentationScores, confusion_matrix
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.base import Stage
from wsss_plugins.stages.distributed import gather, rank, share_of
from wsss_plugins.stages.refine import label_path
from wsss_plugins.stages.seed import seed_path
from wsss_plugins.structures import Seed, load_label_map, save_json

SCORES_FILE = 'scores.json'
IMAGES_FILE = 'per_image.json'


class _MaskStage(Stage):
    """What the evaluation stages share: a data set with masks, and a loop over it."""

    def __init__(self, name: str, source: str, dataset: dict[str, Any]) -> None:
        super().__init__(name)
        self.source = source
        self.inputs = (source,)
        self.dataset = dict(dataset, test_mode=True)

    def provenance(self) -> dict[str, Any]:
        """The split, whose masks only this stage reads."""
        return dict(
            data=f'{self.dataset["data_root"]} {self.dataset["split"]}',
            ground_truth=str(self.dataset.get('label_maps')),
        )

    def _each(self, measure: Callable[[WSSSDataset, int, str], None]) -> WSSSDataset:
        """Calls ``measure(dataset, index, id)`` for the images of this worker."""
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        names = dataset.ids
        mine = share_of(range(len(names)))
        with ProgressBar(self.name, len(mine), quiet=rank() != 0) as bar:
            for index in mine:
                measure(dataset, index, names[index])
                bar.advance()
        return dataset


@STAGES.register_module()
class EvaluateSeedStage(_MaskStage):
    """mIoU of seeds at every threshold, in one pass over the images.

    Writes the sweep to ``scores.json``. Absent classes count as 0, as in the evaluation
    of ACR and MCTformer.

    Args:
        name: Name of the stage.
        seeds: Stage that made the seeds.
        dataset: Config of the images with ``label_maps``.
        thresholds: Ascending; by default 0.00, 0.01 ... 0.99.
    """

    def __init__(
        self,
        name: str,
        seeds: str,
        dataset: dict[str, Any],
        thresholds: Sequence[float] | None = None,
    ) -> None:
        super().__init__(name, seeds, dataset)
        self.thresholds = thresholds

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Sweeps the threshold."""
        sweeps: list[SeedIoU] = []

        def measure(dataset: WSSSDataset, index: int, name: str) -> None:
            if not sweeps:
                sweeps.append(SeedIoU(len(dataset.foreground_classes), self.thresholds))
            path = seed_path(inputs[self.source], name)
            seed, mask = Seed.load(path), dataset.load_mask(index)
            _same_size(path, seed.size, mask.shape)
            sweeps[0].update(seed.scores.numpy(), seed.classes.numpy(), mask)

        dataset = self._each(measure)
        total = SeedIoU(len(dataset.foreground_classes), self.thresholds)
        for sweep in gather(sweeps):
            for part in sweep:
                total.merge(part)
        result = total.compute()
        if rank() == 0:
            classes = list(dataset.metainfo['classes'])
            save_json(out / SCORES_FILE, dict(classes=classes) | result.to_dict())
        return dict(
            best_miou=round(result.best_miou, 3),
            best_threshold=result.best_threshold,
            fp_rate=round(result.best.mean_false_positive_rate, 3),
            fn_rate=round(result.best.mean_false_negative_rate, 3),
        )


@STAGES.register_module()
class EvaluateLabelStage(_MaskStage):
    """mIoU, FP and FN rates of label maps, per class and per image.

    Writes ``scores.json`` and ``per_image.json``.

    Args:
        name: Name of the stage.
        labels: Stage that wrote ``labels/<id>.png``.
        dataset: Config of the images with ``label_maps``.
    """

    def __init__(self, name: str, labels: str, dataset: dict[str, Any]) -> None:
        super().__init__(name, labels, dataset)

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Scores the label maps."""
        confusions: dict[str, np.ndarray] = {}

        def measure(dataset: WSSSDataset, index: int, name: str) -> None:
            classes = len(dataset.metainfo['classes'])
            path = label_path(inputs[self.source], name)
            label, mask = load_label_map(path, classes), dataset.load_mask(index)
            _same_size(path, label.shape, mask.shape)
            confusions[name] = confusion_matrix(label, mask, classes)

        dataset = self._each(measure)
        classes = list(dataset.metainfo['classes'])
        parts = gather((_sum(confusions, len(classes)), _image_miou(confusions)))
        scores = SegmentationScores(np.sum([part[0] for part in parts], axis=0))
        if rank() == 0:
            save_json(out / SCORES_FILE, dict(classes=classes) | scores.to_dict())
            per_image = {name: iou for part in parts for name, iou in part[1].items()}
            save_json(out / IMAGES_FILE, per_image)
        return dict(
            miou=round(scores.miou, 3),
            fp_rate=round(scores.mean_false_positive_rate, 3),
            fn_rate=round(scores.mean_false_negative_rate, 3),
            pixel_accuracy=round(scores.pixel_accuracy, 3),
        )


def _sum(confusions: dict[str, np.ndarray], classes: int) -> np.ndarray:
    zero = np.zeros((classes, classes), np.int64)
    return np.sum([zero, *confusions.values()], axis=0)


def _image_miou(confusions: dict[str, np.ndarray]) -> dict[str, float]:
    """MIoU of each image over the classes it shows or is said to show, in percent."""
    return {
        name: round(float(SegmentationScores(confusion, absent='nan').miou), 2)
        for name, confusion in confusions.items()
    }


def _same_size(path: Path, size: Sequence[int], mask: Sequence[int]) -> None:
    if tuple(size) != tuple(mask):
        raise DataError(
            f'{path} is {size[0]}x{size[1]} but its mask is {mask[0]}x{mask[1]}: '
            'make it again from the same images'
        )
