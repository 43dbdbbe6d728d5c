"""The report of an experiment: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.failures import without_failed
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import barrier, rank
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.report import page as sections
from wsss_plugins.report.gallery import Album, LabelLayer
from wsss_plugins.report.results import Results
from wsss_plugins.structures import atomic_path
from wsss_plugins.structures.layout import REPORT_FILE


@STAGES.register_module()
class ReportStage(Stage):
    """Writes ``report.html``: what was run, the numbers, the charts and the pictures.

    The page shows the named stages and all stages that they read. Images that a stage
    left out are not shown. With its default gallery the file is smaller than 5 MB.

    Args:
        name: Name of the stage.
        title: Heading of the page.
        dataset: Config of the images the seeds are of, with ``label_maps`` where there
            are masks.
        notes: Introduction, such as why the numbers are modest; plain text.
        seeds: Stages that evaluated seeds, or, without masks, the stages that made the
            seeds; so for ``labels`` and ``predictions``.
        labels: Stage that evaluated the pseudo labels.
        predictions: Stage that evaluated the segmentor's predictions.
        prediction_dataset: Config of their images, with ``label_maps`` where there are
            masks, if they are not those of ``dataset``.
        gallery: How many images to show of each data set.

    Raises:
        ConfigError: No stage to report is named.
    """

    needs_every_image = False

    def __init__(
        self,
        name: str,
        title: str,
        dataset: dict[str, Any],
        notes: str = '',
        seeds: Sequence[str] = (),
        labels: str | None = None,
        predictions: str | None = None,
        prediction_dataset: dict[str, Any] | None = None,
        gallery: int = 8,
    ) -> None:
        super().__init__(name)
        self.inputs = tuple(s for s in (*seeds, labels, predictions) if s is not None)
        if not self.inputs:
            raise ConfigError(
                f"the report '{name}' shows nothing: name evaluation stages in seeds, "
                'labels or predictions'
            )
        self.title, self.notes = title, notes
        self.seeds, self.labels, self.predictions = tuple(seeds), labels, predictions
        self.dataset = dict(dataset, test_mode=True)
        self.prediction_dataset = (
            dict(prediction_dataset, test_mode=True) if prediction_dataset else None
        )
        self.gallery = gallery

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Writes the page; the records and pictures lie beside ``out``."""
        if rank() == 0:
            results = Results(out.parent, self.seeds, self.labels, self.predictions)
            with atomic_path(out / REPORT_FILE) as part:
                part.write_text(self._page(results), encoding='utf-8')
        barrier()
        return {}

    def measured(self) -> None:
        """None, since a report measures nothing."""
        return

    def _page(self, results: Results) -> str:
        albums = self._albums(results)
        titles = ('Gallery', 'Gallery of predictions')
        galleries = [
            sections.gallery(album, f'gallery{i}', titles[i], self.gallery)
            for i, album in enumerate(albums)
        ]
        content = [
            sections.numbers(results),
            sections.curves(results),
            sections.classes(results),
            *galleries,
            sections.worst_and_best(albums),
            sections.pipeline(results),
        ]
        records = list(results.records.values())
        return sections.page(self.title, self.notes, records, content)

    def _albums(self, results: Results) -> list[Album]:
        """The images of the seeds and, where they are others, those of the predictions."""
        layers = {
            stage: LabelLayer(title, results.folder(stage), results.image_mious(stage))
            for title, stage in (
                ('pseudo label', self.labels),
                ('prediction', self.predictions),
            )
            if stage is not None
        }
        apart = []
        if self.prediction_dataset is not None and self.predictions is not None:
            dataset = build_as(DATASETS, self.prediction_dataset, WSSSDataset)
            apart.append(Album(dataset, [layers.pop(self.predictions)]))
        chosen = results.chosen_seeds
        shown = [*self.seeds, *([self.labels] if self.labels else [])]
        cfg = without_failed(self.dataset, *map(results.folder, shown))
        album = Album(
            build_as(DATASETS, cfg, WSSSDataset),
            list(layers.values()),
            {results.head(stage): results.folder(stage) for stage in self.seeds},
            results.head(chosen) if chosen else None,
        )
        return [album, *apart]
