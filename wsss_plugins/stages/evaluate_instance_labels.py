"""Measures instance labels against the masks of single objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.datasets import COCO14, VOC12, WSSSDataset
from wsss_plugins.engine.failures import without_failed
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import gather, rank, share_of
from wsss_plugins.errors import DataError
from wsss_plugins.metrics import CocoAP, voc_average_precision
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.true_instances import (
    files_of_instances,
    instance_dataset,
    true_instances,
)
from wsss_plugins.structures import Instances, save_json
from wsss_plugins.structures.layout import SCORES_FILE, instances_path
from wsss_plugins.structures.measured import Measured


@STAGES.register_module()
class EvaluateInstanceLabelStage(Stage):
    """Measures the average precision of instance labels by COCO's and by VOC's definition.

    The metrics ``ap``, ``ap_50``, ``ap_75`` and ``ar`` are those of pycocotools; ``map_50``
    is the mean over the classes that occur of :func:`voc_average_precision` at an overlap
    of 0.5. ``scores.json`` has all of COCO's measures, and VOC's by class. Images on which
    an earlier stage failed are left out; the metric ``left_out`` is their number.

    Source: Lin et al., Microsoft COCO, 2014; Hariharan et al., ECCV 2014. IRN (Ahn et al.,
    CVPR 2019) reports the latter.

    Args:
        name: Name of the stage.
        instances: Name of the stage that made the instance labels.
        dataset: Config of the images: a :class:`COCO14`, or a :class:`VOC12` with
            ``label_maps='SegmentationClass'`` and the folder SegmentationObject beside it.

    Raises:
        ConfigError: ``dataset`` is neither of both.
    """

    needs_every_image = False
    reads_photos = False

    def __init__(self, name: str, instances: str, dataset: dict[str, Any]) -> None:
        super().__init__(name)
        self.kind = instance_dataset(dataset, name, (VOC12, COCO14))
        self.instances = instances
        self.inputs = (instances,)
        self.dataset = dict(dataset, test_mode=True, require_images=False)

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Measures the objects of all images."""
        folder = inputs[self.instances]
        dataset = build_as(DATASETS, without_failed(self.dataset, folder), WSSSDataset)
        metric, number, categories = true_instances(dataset)
        names = share_of(dataset.ids)
        with ProgressBar(self.name, len(names), quiet=rank() != 0) as bar:
            for name in names:
                _find(instances_path(folder, name), metric, number[name], categories)
                bar.advance()
        found = gather(metric.detections)
        metric.detections = [each for part in found for each in part]
        scores = _scores(metric, dataset.foreground_classes, categories)
        if rank() == 0:
            save_json(out / SCORES_FILE, scores)
        keys = ('ap', 'ap_50', 'ap_75', 'ar', 'map_50')
        numbers = {k: None if scores[k] is None else round(scores[k], 3) for k in keys}
        left_out = len(dataset.leave_out)
        return dict(images=len(dataset), **numbers) | (
            dict(left_out=left_out) if left_out else {}
        )

    def files_read(self) -> dict[str, list[Path]]:
        """The file of objects of COCO, or the masks of objects of VOC."""
        files = list(files_of_instances(self.dataset))
        if not files:
            folder = Path(self.dataset['data_root']) / 'SegmentationObject'
            return {str(folder): sorted(folder.glob('*.png'))}
        return {str(path): [path] for path in files}

    def measured(self) -> Measured:
        """Declares the images, and that masks of objects are read."""
        return Measured(
            images=self.dataset,
            masks=True,
            mask_files=files_of_instances(self.dataset),
            protocol=dict(objects='COCO AP and VOC mAP at 0.5'),
        )


def _find(path: Path, metric: CocoAP, image: int, categories: tuple[int, ...]) -> None:
    """Adds the objects in one file to ``metric``."""
    found = Instances.load(path)
    wrong = found.classes[(found.classes < 0) | (found.classes >= len(categories))]
    if len(wrong):
        raise DataError(
            f'{path} has the class {wrong[0]}: allowed are 0 to {len(categories) - 1}'
        )
    for c in np.unique(found.classes):
        mine = found.classes == c
        metric.update(image, categories[c], list(found.masks[mine]), found.scores[mine])


def _scores(
    metric: CocoAP, classes: tuple[str, ...], categories: tuple[int, ...]
) -> dict[str, Any]:
    """COCO's measures and VOC's, percent."""
    of_class = voc_average_precision(metric.truth, metric.detections)
    named = dict(zip(categories, classes, strict=True))
    by_class = {named[c]: 100 * value for c, value in of_class.items()}
    mean = float(np.mean(list(by_class.values()))) if by_class else None
    return dict(metric.compute(), map_50=mean, map_50_by_class=by_class)
