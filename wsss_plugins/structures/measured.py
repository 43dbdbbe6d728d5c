"""What a stage declares of its results: the part of a card that nobody else can know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import Network, Said, Source, Tags, Threshold


@dataclass(frozen=True)
class Measured:
    """What a stage declares of its results; a field that is None is as in its first input.

    Seed heads, refiners and CRFs come from the stage's ``parts()``; checksums, failed
    images and masks that data sets load are observed while it runs.

    Attributes:
        images: Config of the data set whose images the results are of. None for the
            first data set that the stage's config names, ``{}`` for none.
        masks: Whether the masks of all these images count as read, even where an earlier,
            interrupted run read them. Otherwise those do that a data set is seen to load.
        mask_files: Files with ground-truth pixels that it reads, other than label maps.
        without_failed: Whether images on which it, or a stage it reads, failed are left
            out of the results.
        made_elsewhere: Folder of files that it takes over from outside.
        networks: Networks that it trains or brings in.
        training: Config of the data that they are trained on.
        begun_with: Card of each file of weights that these begin with.
        thresholds: Thresholds between background and objects that it uses or finds.
        threshold_metric: Its metric that holds the value of these thresholds.
        labels: Image-level labels that its inference is told; likewise the views.
        scales: Factors of the images' sides.
        flip: Whether the mirrored image is added.
        protocol: How it counts, such as ``dict(convention='acr')``; numbers of another
            protocol may not stand in one table.
        details: What else people want to read; no part of the card.
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
        """All of it for people, as plain JSON."""
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
    """A threshold that is applied, in words."""
    detail = threshold.of or threshold.detail
    source = threshold.source.value
    if threshold.source is Source.MASKS:
        source = 'the best on ground truth'
    factor = '' if threshold.factor == 1 else f'{threshold.factor:g} times '
    return f'{factor}{source}' + (f' ({detail})' if detail else '')
