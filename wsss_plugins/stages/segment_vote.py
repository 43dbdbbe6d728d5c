"""A stage in which segments from any tool vote on pseudo labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import one_by_one, without_failed
from wsss_plugins.engine.stage import Stage
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners import check_rule, segment_vote, superpixels
from wsss_plugins.refiners.segment_vote import METHODS
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.structures import load_label_map, save_label_map
from wsss_plugins.structures.layout import label_path
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.segments import SUFFIXES, find_segments, load_segments


@STAGES.register_module()
class SegmentVoteStage(Stage):
    """Writes ``labels/<id>.png``, the label map that the segments make of each pseudo label.

    Segments are class-agnostic masks: files of a tool such as Segment Anything, see
    :func:`~wsss_plugins.structures.segments.load_segments`, or superpixels of the photo.
    Images whose photo, label map or segments are missing or damaged, or whose sizes
    differ, are left out; the metric ``failed`` is their number, and ``changed`` is the
    percentage of pixels whose label is another.

    Source: Chen, Mai, Li and Chao (SEPL), 2023.

    Args:
        name: Name of the stage.
        labels: Name of the stage that made the pseudo labels.
        dataset: Config of the images; masks are not read.
        segments: Folder of ``<id>.json`` or ``<id>.png``, or the name of superpixels:
            'felzenszwalb' or 'slic', see :func:`superpixels`.
        rule: See :func:`segment_vote`; by default SEPL's, 'max_iou_imp2'.
        arguments: Of the superpixels, such as ``dict(scale=100)``.

    Raises:
        ConfigError: ``rule`` is unknown, or ``arguments`` are given for files.
        DataError: ``segments`` is no folder with segments.
    """

    needs_every_image = False
    reads_masks = False

    def __init__(
        self,
        name: str,
        labels: str,
        dataset: dict[str, Any],
        segments: str | Path = 'felzenszwalb',
        rule: str = 'max_iou_imp2',
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name)
        check_rule(rule)
        self.labels, self.rule = labels, rule
        self.inputs = (labels,)
        self.dataset = dict(dataset, require_images=False)
        self.arguments = dict(arguments or {})
        self.method = str(segments) if str(segments) in METHODS else None
        self.folder = Path(segments)
        if self.method is None:
            self._check_folder()

    def _check_folder(self) -> None:
        if self.arguments:
            raise ConfigError(
                f"stage '{self.name}' has arguments of superpixels and segments "
                f"'{self.folder}': give segments={' or '.join(map(repr, METHODS))}, or "
                'leave arguments out',
                token='arguments',
            )
        if not self._files():
            raise DataError(
                f"folder {self.folder} of stage '{self.name}' holds no segments "
                f'(<id>.json or <id>.png): correct its path, or name superpixels, '
                f'{" or ".join(METHODS)}'
            )

    def _files(self) -> list[Path]:
        return sorted(p for s in SUFFIXES for p in self.folder.glob(f'*{s}'))

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Votes on the pseudo labels of all images that have no label map yet."""
        source = inputs[self.labels]
        cfg = without_failed(self.dataset, source)
        dataset = build_as(DATASETS, cfg, WSSSDataset)
        names = dataset.ids

        def vote(index: int) -> None:
            """Lets the segments of an image vote on its pseudo label, and writes it."""
            label = load_label_map(label_path(source, names[index]))
            segments = self._segments(dataset, index, label)
            voted = segment_vote(label, segments, self.rule)
            save_label_map(label_path(out, names[index]), voted)

        failed = one_by_one(self.name, out, names, label_path, vote)
        return dict(images=len(names), failed=failed, **_changed(out, source, names))

    def _segments(
        self, dataset: WSSSDataset, index: int, label: np.ndarray
    ) -> np.ndarray:
        """Segments of one image, of the size of its label map.

        Raises:
            DataError: The photo or the segments cannot be read, or are of another size.
        """
        if self.method is None:
            path = find_segments(self.folder, dataset.ids[index])
            found = load_segments(path)
        else:
            path = dataset.image_path(index)
            photo = dataset.load_image(index)
            found = superpixels(photo, self.method, self.arguments)
        if len(found) and found.shape[1:] != label.shape:
            raise DataError(
                f'{path} is {found.shape[1:]} (height, width) and its label map '
                f'{label.shape}: make both from the same photo'
            )
        return found.reshape(len(found), *label.shape)

    def files_read(self) -> dict[str, list[Path]]:
        """The files of segments."""
        return {str(self.folder): self._files()} if self.method is None else {}

    def measured(self) -> Measured:
        """Declares the images and the rule; the rest is that of the pseudo labels."""
        return Measured(
            images=self.dataset,
            details=dict(
                segments=self.method or str(self.folder),
                rule=self.rule,
                arguments=self.arguments,
            ),
        )


def _changed(out: Path, source: Path, names: list[str]) -> dict[str, float]:
    """Percentage of pixels whose label is another, of the images that are there."""
    total = other = 0
    for name in names:
        if label_path(out, name).is_file():
            before, now = (load_label_map(label_path(p, name)) for p in (source, out))
            total, other = total + now.size, other + int((before != now).sum())
    return dict(changed=round(100 * other / max(total, 1), 3))
