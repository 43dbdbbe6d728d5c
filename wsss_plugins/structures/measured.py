"""The declaration of a stage about its results, for their supervision card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import Network, Said, Source, Tags, Threshold


@dataclass(frozen=True)
class Measured:
    """The declaration of a stage about its results.

    ``labels``, ``scales`` and ``flip`` are inherited from the card of the stage's first
    input where they are None. The card learns the rest without a declaration: the stage's
    ``parts()`` are its seed heads, refiners and CRFs; checksums, failed images and the
    masks that data sets load are observed while the stage runs.

    Attributes:
        images: Config of the data set that the results are about. None means the first
            data set that the stage's config names, ``{}`` means no data set.
        masks: True if the masks of all these images count as read, because an earlier,
            interrupted run may have read them. If False, only the masks count that a data
            set loads during this run.
        mask_files: Files with ground-truth pixels, other than label maps, that the stage
            reads.
        without_failed: True if images are left out of the results when this stage, or a
            stage that it reads, failed on them.
        made_elsewhere: Folder of files from outside the pipeline that the stage imports.
        networks: Networks that the stage trains or imports.
        training: Config of the data that these networks are trained on.
        begun_with: Supervision card of each weight file that these networks start from,
            by name of the file.
        thresholds: Thresholds between background and objects that the stage uses or
            finds.
        threshold_metric: Name of the metric that holds the value of these thresholds.
        labels: Image-level labels that the stage's inference uses.
        scales: Scale factors of the images at the stage's inference.
        flip: True if the inference also uses the mirrored image.
        protocol: Conventions of the metrics, such as ``dict(convention='acr')``. Numbers
            of different protocols may not stand in one table.
        details: Further facts for people to read, which are not part of the card.
    """

    images: Mapping[str, Any] | None = None
    masks: bool = False
    mask_files: tuple[Path, ...] = ()
    without_failed: bool = True
    made_elsewhere: Path | None = None
    networks: tuple[Network, ...] = ()
    training: Mapping[str, Any] | None = None
    begun_with: Mapping[str, SupervisionCard] = field(default_factory=dict)
    thresholds: tuple[Threshold, ...] = ()
    threshold_metric: str = ''
    labels: Said[Tags] | None = None
    scales: tuple[float, ...] | None = None
    flip: bool | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def words(self) -> dict[str, Any]:
        """The declaration as plain JSON for people to read."""
        said: dict[str, Any] = {}
        if self.images:
            places = (self.images.get('data_root'), self.images.get('split'))
            said['data'] = ' '.join(str(p) for p in places if p is not None)
        if self.images and self.masks:
            said['ground_truth'] = str(self.images.get('label_maps'))
        used = [t for t in self.thresholds if t.of or t.source is not Source.MASKS]
        if used:
            said['threshold'] = ', '.join(map(_threshold, used))
        if self.scales is not None:
            said['scales'] = list(self.scales)
        if self.flip is not None:
            said['flip'] = self.flip
        if self.labels is not None:
            said['labels'] = str(self.labels)
        return said | dict(self.protocol) | dict(self.details)


def _threshold(threshold: Threshold) -> str:
    """Text of an applied threshold, such as '0.8 times the best on ground truth (cam)'."""
    detail = threshold.of or threshold.detail
    source = threshold.source.value
    if threshold.source is Source.MASKS:
        source = 'the best on ground truth'
    factor = '' if threshold.factor == 1 else f'{threshold.factor:g} times '
    return f'{factor}{source}' + (f' ({detail})' if detail else '')
