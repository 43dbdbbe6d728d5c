"""The declaration of a stage about its results, for their supervision card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_plugins.structures.card import Source, SupervisionCard, Threshold


@dataclass(frozen=True)
class Measured(SupervisionCard):
    """The part of a card that a stage declares, and how the rest of it is observed.

    A stage gives the ``networks`` that it trains or imports, the ``thresholds`` that it
    uses or finds, the ``labels``, ``scales`` and ``flip`` of its inference (None to inherit
    them from the card of its first input), and the ``protocol`` of its metrics, such as
    ``dict(convention='acr')``. The card learns the rest without a declaration: the stage's
    ``parts()`` are its seed heads, refiners and CRFs; checksums, failed images and the
    masks that data sets load are observed while the stage runs.
    """

    # Config of the data set of the results, or several: by default the first of the stage.
    images: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None  # {} for none
    # True if all its masks count as read, since an earlier, interrupted run may have read
    # them. If False, only the masks count that this run loads.
    masks: bool = False
    mask_files: tuple[Path, ...] = ()  # other files with ground-truth pixels it reads
    # True if images are left out on which this stage, or one that it reads, failed.
    without_failed: bool = True
    made_elsewhere: Path | None = None  # folder of imported files
    training: Mapping[str, Any] | None = None  # config of the data of its networks
    # Card of each weight file that its networks start from, by name of the file.
    begun_with: Mapping[str, SupervisionCard] = field(default_factory=dict)
    threshold_metric: str = ''  # name of the metric with the value of its thresholds
    details: Mapping[str, Any] = field(default_factory=dict)  # to read, not in the card

    def words(self) -> dict[str, Any]:
        """The declaration as plain JSON for people to read."""
        given, labels = self.images or (), self.labels
        sets = [given] if isinstance(given, Mapping) else [*given]
        places = [(s.get('data_root'), s.get('split')) for s in sets]
        maps = [str(s.get('label_maps')) for s in sets if self.masks]
        used = [t for t in self.thresholds if t.of or t.source is not Source.MASKS]
        said = dict(
            data=', '.join(' '.join(map(str, filter(None, p))) for p in places) or None,
            ground_truth=', '.join(maps) or None,
            threshold=', '.join(map(_threshold, used)) or None,
            scales=None if self.scales is None else list(self.scales),
            flip=self.flip,
            labels=None if labels is None else str(labels),
        )
        told = {key: value for key, value in said.items() if value is not None}
        return told | dict(self.protocol) | dict(self.details)


def _threshold(threshold: Threshold) -> str:
    """Text of an applied threshold, such as '0.8 times the best on ground truth (cam)'."""
    detail, source = threshold.of or threshold.detail, threshold.source.value
    if threshold.source is Source.MASKS:
        source = 'the best on ground truth'
    factor = '' if threshold.factor == 1 else f'{threshold.factor:g} times '
    return f'{factor}{source}' + (f' ({detail})' if detail else '')
