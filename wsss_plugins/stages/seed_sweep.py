"""A stage that measures seeds for several values of one argument of their head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine.flow import in_threads
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import barrier, rank, share_of
from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics import SeedIoU, usual_thresholds
from wsss_plugins.progress import ProgressBar
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.classes import refuse_other_class_names
from wsss_plugins.stages.images import batches_of_one_size
from wsss_plugins.stages.means import convention_for
from wsss_plugins.stages.seed import SeedStage
from wsss_plugins.stages.train import load_trained
from wsss_plugins.structures import atomic_path, load_json, save_json
from wsss_plugins.structures.card import Source, Threshold
from wsss_plugins.structures.layout import FIGURE_FILE, SCORES_FILE, TEXT_TABLE_FILE
from wsss_plugins.structures.measured import Measured
from wsss_plugins.structures.tables import write_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = dict(
    miou='mIoU',
    mean_false_positive_rate='FP',
    mean_false_negative_rate='FN',
)
"""The measures at the best threshold that are drawn, with their names in figure 8."""

LINES = ('o-', 's-', '^--')
COLOURS = ('#1f4e9c', '#c0392b', '#1e8449')


@STAGES.register_module()
class SeedSweepStage(Stage):
    """Measures mIoU, false positives and false negatives of seeds over one argument.

    Each value of the argument has its own best threshold, as in
    :class:`EvaluateSeedStage`; the seeds are not written. The stage writes ``table.md``,
    ``scores.json`` and ``figure.png``. Each measured value has a file in ``values/``, so
    that a run that was killed continues with the next one. Workers share the values.

    Source: Yu et al., eX-ViT, 2022, figure 8 (blocks that are fused), and Sun et al.,
    All-pairs Consistency Learning for WSSS, 2023, figure 8 (first block that is read).

    Args:
        name: Name of the stage.
        model: Name of the stage that trained the classifier.
        head: Config of a :class:`SeedHead` without the argument.
        argument: Name of the argument.
        values: Values of the argument, in the order of the table.
        dataset: Config of the images with ``label_maps``.
        thresholds: Thresholds in ascending order, see :class:`EvaluateSeedStage`.
        convention: How the mIoU is computed, see :class:`EvaluateSeedStage`. Figure 8 of
            eX-ViT shows the error rates of the convention 'seam'.
        maps: Further arguments of :class:`SeedStage` (``scales``, ``flip``,
            ``input_size``, ``batch_size`` ...).

    Raises:
        ConfigError: ``values`` is empty or has a value twice, the head refuses a value,
            or ``convention`` is not in :data:`CONVENTIONS`.
    """

    def __init__(
        self,
        name: str,
        model: str,
        head: dict[str, Any],
        argument: str,
        values: Sequence[Any],
        dataset: dict[str, Any],
        thresholds: Sequence[float] | None = None,
        convention: str | None = None,
        **maps: Any,
    ) -> None:
        super().__init__(name)
        if not values or len(set(map(repr, values))) != len(values):
            raise ConfigError(
                f"stage '{name}' needs values of '{argument}' that differ, not {values!r}",
                token=name,
            )
        self.model, self.inputs = model, (model,)
        self.argument, self.values = argument, list(values)
        self.dataset = dict(dataset, test_mode=True)
        self.thresholds = thresholds
        self.convention = convention_for(dataset, convention)
        stage = dict(type=SeedStage, name=name, model=model, dataset=self.dataset)
        self.makers = [
            build_as(
                STAGES, {**stage, 'head': {**head, argument: value}, **maps}, SeedStage
            )
            for value in self.values
        ]

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        """Measures the values that have not been measured yet, then draws all."""
        dataset = build_as(DATASETS, self.dataset, WSSSDataset)
        model = load_trained(inputs[self.model], WSSSClassifier)
        refuse_other_class_names(model, dataset)
        mine = share_of(range(len(self.values)))
        todo = [i for i in mine if not _done(out, i).is_file()]
        count = len(dataset)
        with ProgressBar(self.name, len(mine) * count, quiet=rank() != 0) as bar:
            bar.begin_at(bar.total - len(todo) * count)
            for i in todo:
                found = self._measure(self.makers[i], model, dataset, bar)
                save_json(_done(out, i), found)
        barrier()
        scores = [load_json(_done(out, i)) for i in range(len(self.values))]
        if rank() == 0:
            self._report(out, scores)
        best = max(range(len(scores)), key=lambda i: scores[i]['best_miou'])
        return {
            'images': count,
            'classes': _classes(scores[best]),
            'best_miou': round(scores[best]['best_miou'], 3),
            f'best_{self.argument}': self.values[best],
        }

    def parts(self) -> tuple[object, ...]:
        """The seed head with each of the values."""
        return tuple(maker.head for maker in self.makers)

    def measured(self) -> Measured:
        """Declares views, labels, the best thresholds found on masks, and the convention."""
        own = self.makers[0].measured()
        chosen = dict(argument=self.argument, values=self.values)
        return replace(
            own,
            masks=True,
            thresholds=(Threshold(self.name, Source.MASKS, 'the best'),),
            protocol=dict(convention=self.convention),
            details={**own.details, **chosen},
        )

    def _measure(
        self,
        maker: SeedStage,
        model: WSSSClassifier,
        dataset: WSSSDataset,
        bar: ProgressBar,
    ) -> dict[str, Any]:
        """Measures the seeds of one value at every threshold."""
        sweep = SeedIoU(
            len(dataset.foreground_classes),
            self.thresholds or usual_thresholds(self.convention),
        )

        def load(batch: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
            """The photos and the masks of a batch."""
            photos = [dataset.load_image(i) for i in batch]
            return photos, [dataset.load_mask(i) for i in batch]

        batches = list(batches_of_one_size(dataset, maker.batch_size))
        read = in_threads(load, batches)
        for batch, (photos, masks) in zip(batches, read, strict=True):
            labels = [dataset.labels(i) for i in batch]
            seeds = maker.seeds_of(model, photos, labels)
            for seed, mask in zip(seeds, masks, strict=True):
                sweep.update(seed.scores, seed.classes, mask)
            bar.advance(len(batch))
        return sweep.compute(self.convention).to_dict()

    def _report(self, out: Path, scores: Sequence[dict[str, Any]]) -> None:
        """Writes ``scores.json``, the table and the figure."""
        content = dict(argument=self.argument, values=self.values, scores=scores)
        save_json(out / SCORES_FILE, content)
        columns = [[each['best'][key] for each in scores] for key in MEASURES]
        thresholds = [each['best_threshold'] for each in scores]
        rows = zip(map(str, self.values), *columns, thresholds, strict=True)
        header = [self.argument, *MEASURES.values(), 'threshold']
        write_markdown(out / TEXT_TABLE_FILE, header, [list(row) for row in rows])
        with atomic_path(out / FIGURE_FILE) as part:
            picture = sweep_picture(self.argument, self.values, columns)
            picture.savefig(part, dpi=150)


def sweep_picture(
    argument: str, values: Sequence[Any], columns: Sequence[Sequence[float | None]]
) -> Figure:
    """Draws the mIoU on the left, and false positives and false negatives on the right.

    Args:
        argument: Name of the argument, for the horizontal axis.
        values: Values of the argument, drawn at equal distances.
        columns: For each of :data:`MEASURES`, its percentage at each value.

    Returns:
        The figure; it is not shown in a window.
    """
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(9, 3.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    places = range(len(values))
    titles = list(MEASURES.values())
    for axes, chosen in ((left, [0]), (right, [1, 2])):
        for j in chosen:
            heights = [float('nan') if v is None else v for v in columns[j]]
            axes.plot(places, heights, LINES[j], color=COLOURS[j], label=titles[j])
        axes.set_xticks(places, [str(value) for value in values])
        axes.set_xlabel(argument.replace('_', ' '))
        axes.set_ylabel(f'{", ".join(titles[j] for j in chosen)} (%)')
        axes.grid(alpha=0.3)
    right.legend()
    return figure


def _classes(scores: Mapping[str, Any]) -> int:
    """Number of classes in the mean; all, if an earlier version measured the value."""
    best = scores['best']
    return int(best.get('averaged_classes', len(best['iou'])))


def _done(out: Path, index: int) -> Path:
    """Path of the file with the scores of a value."""
    return out / 'values' / f'{index:03}.json'
