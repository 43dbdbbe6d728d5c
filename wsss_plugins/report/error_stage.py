"""A stage that examines the errors of label maps or seeds, and writes a page on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.engine.workers import barrier, gather, rank
from wsss_plugins.metrics import LabelErrors
from wsss_plugins.metrics.label_errors import FOUND, LEAST, WIDTHS
from wsss_plugins.registry import STAGES
from wsss_plugins.report.error_page import ErrorPictures, error_page
from wsss_plugins.report.made_labels import MadeLabels, made_labels
from wsss_plugins.report.recorded import recorded_threshold
from wsss_plugins.stages.evaluate import MaskStage, require_same_size
from wsss_plugins.stages.thresholds import best_threshold
from wsss_plugins.structures import save_json
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import (
    ERRORS_FILE,
    ERRORS_PAGE_FILE,
    ERRORS_TABLE_FILE,
)
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tables import write_csv, write_text


@STAGES.register_module()
class ErrorStage(MaskStage):
    """Examines where label maps or seeds are wrong: objects, outlines, classes, images.

    Writes ``errors.json`` with all measures (see :meth:`LabelErrors.compute`),
    ``images.csv`` with those of each image, and ``errors.html``, a page that needs nothing
    else: tables by class and by size of the objects, the outlines, the classes that are
    taken for each other, and the worst images of each kind of error.

    Args:
        name: Name of the stage.
        source: Name of the stage that made label maps or seeds.
        dataset: Config of the images with ``label_maps``.
        threshold: Of seeds, the score above which a pixel is foreground: a number, or the
            name of a stage that swept one on masks. None for seeds that have a background,
            and for label maps.
        widths: Distances from an outline of the ground truth, in pixels, increasing.
        found: Share of an object below which it is missed, and of a predicted region that
            is right below which it is a false object.
        least: Pixels of the smallest object.
        gallery: How many of the worst images to show of each kind of error.
        title: Heading of the page.

    Raises:
        ConfigError: ``widths``, ``found`` or ``least`` is out of its range.
    """

    def __init__(
        self,
        name: str,
        source: str,
        dataset: dict[str, Any],
        threshold: float | str | None = None,
        widths: Sequence[int] = WIDTHS,
        found: float = FOUND,
        least: int = LEAST,
        gallery: int = 4,
        title: str | None = None,
    ) -> None:
        super().__init__(name, source, dataset)
        self.threshold = threshold
        if isinstance(threshold, str):
            self.inputs = (source, threshold)
        self.arguments = dict(widths=tuple(widths), found=found, least=least)
        LabelErrors(2, **self.arguments)  # type: ignore[arg-type]
        self.gallery = gallery
        self.title = f'Errors of {source}' if title is None else title

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Examines the label maps of all images, and draws the page."""
        dataset = self._images(inputs[self.source])
        classes = list(dataset.metainfo['classes'])
        level = self.threshold
        if isinstance(level, str):
            level = best_threshold(inputs[level])
        labels = made_labels(inputs[self.source], len(classes), level)
        errors = self._collect(dataset, labels)
        found = errors.compute(classes)
        images = {name: errors.images[name] for name in dataset.ids}
        if rank() == 0:
            save_json(out / ERRORS_FILE, found | dict(per_image=images))
            header = ['image', *next(iter(images.values()))]
            rows = [[name, *numbers.values()] for name, numbers in images.items()]
            write_csv(out / ERRORS_TABLE_FILE, header, rows)
            self._draw(out / ERRORS_PAGE_FILE, inputs, dataset, labels, found, images)
        barrier()
        return _metrics(found) | (
            dict(threshold=level) if labels.seeds and level is not None else {}
        )

    def measured(self) -> Measured:
        """Declares the images, where a threshold comes from, and how objects count."""
        given = self.threshold
        chosen: tuple[Threshold, ...] = ()
        if isinstance(given, str):
            detail = f'the best of {given}'
            chosen = (Threshold(self.name, Source.MASKS, detail, of=given),)
        elif given is not None:
            chosen = (Threshold(self.name, Source.FIXED, values=(float(given),)),)
        found, least = self.arguments['found'], self.arguments['least']
        objects = f'missed below {found:g} found, at least {least} px'
        return replace(
            super().measured(),
            thresholds=chosen,
            threshold_metric='threshold' if chosen else '',
            protocol=dict(objects=objects),
        )

    def _collect(self, dataset: WSSSDataset, labels: MadeLabels) -> LabelErrors:
        """The errors of all images, those of the other workers included."""
        errors = LabelErrors(labels.num_classes, **self.arguments)  # type: ignore[arg-type]
        for index, name in self._share(dataset):
            label, mask = labels.load(name), dataset.load_mask(index)
            require_same_size(labels.folder / name, label.shape, mask.shape)
            errors.update(name, label, mask, dataset.labels(index))
        together = LabelErrors(labels.num_classes, **self.arguments)  # type: ignore[arg-type]
        for state in gather(errors.state()):
            together.load(state)
        return together

    def _draw(
        self,
        path: Path,
        inputs: Mapping[str, Path],
        dataset: WSSSDataset,
        labels: MadeLabels,
        found: Mapping[str, Any],
        images: Mapping[str, Mapping[str, float | int | None]],
    ) -> None:
        record = StageRecord.load(inputs[self.source])
        pictures = ErrorPictures(dataset, labels)
        text = error_page(self.title, record, found, images, pictures, self.gallery)
        write_text(path, text)


def examine_errors(
    place: Path,
    out: Path,
    dataset: Mapping[str, Any],
    threshold: float | None = None,
    gallery: int = 4,
) -> dict[str, Any]:
    """Examines the label maps or seeds of a folder, as an :class:`ErrorStage` does.

    Args:
        place: Folder of a stage, or of the files themselves.
        out: Folder to write to.
        dataset: Config of the images with ``label_maps``.
        threshold: Of seeds, the score above which a pixel is foreground; by default the
            background of the seeds, or else the best threshold that a stage of the same
            work dir found.
        gallery: How many of the worst images to show of each kind of error.

    Returns:
        The metrics.

    Raises:
        DataError: ``place`` is no folder of label maps or seeds, one of them or a mask is
            missing or damaged, or the sizes differ.
        UserError: The seeds have no background, and no threshold is known.
    """
    if threshold is None:
        threshold = recorded_threshold(place)
    stage = ErrorStage('errors', place.name, dict(dataset), threshold, gallery=gallery)
    return stage.run(out, {place.name: place})


def _metrics(found: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a look at errors that the record of the stage has."""
    objects = found['objects']
    return dict(
        images=found['images'],
        **found['pixels'],
        objects=objects['objects'],
        missed_objects=objects['missed'],
        regions=objects['regions'],
        false_objects=objects['false'],
        **{f'near_{each["width"]}': each['wrong'] for each in found['boundary']},
    )
