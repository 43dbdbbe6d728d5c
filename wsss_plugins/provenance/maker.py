"""Making supervision cards from what really ran.

What a stage states itself (:meth:`Stage.card`) counts only where the code cannot
observe the fact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wsss_plugins.engine.failures import FAILURES_FILE
from wsss_plugins.engine.stage import Stage
from wsss_plugins.provenance.images import (
    ImageRegister,
    checksum,
    file_checksum,
    find_dataset,
    masks_checksum,
)
from wsss_plugins.provenance.initial import card_of_folder
from wsss_plugins.provenance.methods import crfs_of, methods_of
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import (
    FROM_MASKS,
    TRUE_TAGS,
    UNKNOWN,
    Network,
    Split,
    Threshold,
)
from wsss_plugins.structures.masks_read import MasksRead


@dataclass(frozen=True)
class Ran:
    """A stage that has run.

    Attributes:
        stage: It.
        config: What it was built from.
        out: Its folder.
        inputs: Folder of each stage it read.
        metrics: What it returned.
        environment: See :func:`~wsss_plugins.engine.record.environment`.
        masks: The ground-truth masks that all workers read.
    """

    stage: Stage
    config: Mapping[str, Any]
    out: Path
    inputs: Mapping[str, Path]
    metrics: Mapping[str, Any]
    environment: Mapping[str, Any]
    masks: MasksRead


class CardMaker:
    """Makes cards.

    Args:
        images: Of an experiment, so that its data sets are looked at once.
    """

    def __init__(self, images: ImageRegister | None = None) -> None:
        self.images = images or ImageRegister()

    def make(
        self, ran: Ran, inputs: Mapping[str, SupervisionCard] | None = None
    ) -> SupervisionCard | None:
        """The card of a stage's results.

        Args:
            ran: The stage, after it ran.
            inputs: Card of each stage it read; by default what their records say.

        Returns:
            The card; None for a stage that only shows what others measured.
        """
        own = ran.stage.card()
        if own is None:
            return None
        if inputs is None:
            inputs = {name: card_of_input(path) for name, path in ran.inputs.items()}
        split = self._measured(ran)
        if not ran.stage.inputs and not own.networks:
            inputs = {**inputs, **_made_elsewhere(ran.stage)}
        own = replace(
            own,
            split=split,
            thresholds=_thresholds(own, ran, split, inputs),
            labels=_labels(own.labels, split),
            crf=(*own.crf, *crfs_of(ran.stage, own.scales is not None)),
            methods=(*own.methods, *methods_of(ran.stage)),
            **session_of(ran.environment, ran.stage.seed),
        )
        card = own.after(inputs)
        # The split always comes from the images that were read, even if the stage states another.
        return replace(card, split=split) if split else card

    def _measured(self, ran: Ran) -> Split | None:
        """The images of the stage, with the checksum of their masks if it read any."""
        training = ran.config.get('config')
        if isinstance(training, Mapping):
            node = find_dataset(_loader(training, 'val'))
            masks = bool(node and node.get('label_maps')) and bool(ran.metrics)
        else:
            node = find_dataset(ran.config.get('dataset')) or find_dataset(ran.config)
            masks = bool(ran.masks) or ran.stage.needs_masks
        if node is None:
            return _split_of_masks(ran.masks) if ran.masks else None
        failed = set() if isinstance(training, Mapping) else _failed(ran)
        images = self.images.find(node, failed)
        files = ran.stage.ground_truth_files()
        found = None
        if files:
            found = checksum(''.join(file_checksum(path) for path in files))
        elif masks and node.get('label_maps'):
            found = masks_checksum(node, images, ran.masks)
        elif ran.masks:
            found = _split_of_masks(ran.masks).masks
        return replace(images.split, masks=found)


def _split_of_masks(read: MasksRead) -> Split:
    """The masks that were read, where no config names their data set."""
    rows = sorted((name, mask) for (_, name), mask in read.items())
    names, masks = (json.dumps(part) for part in zip(*rows, strict=True))
    return Split('masks', 'read', len(rows), checksum(names), checksum(masks))


def _loader(training: Mapping[str, Any], part: str) -> Any:
    return (training.get(f'{part}_dataloader') or {}).get('dataset')


def _failed(ran: Ran) -> set[str]:
    """Images that the stage or one that it read went on without."""
    paths = [folder / FAILURES_FILE for folder in (ran.out, *ran.inputs.values())]
    return {name for path in paths if path.is_file() for name in load_json(path)}


def card_of_input(folder: Path) -> SupervisionCard:
    """The card of a stage that was read; one without says that nothing is known."""
    card = card_of_folder(folder)
    return unknown_card(folder.name, 'no card') if card is None else card


def unknown_card(stage: str, why: str) -> SupervisionCard:
    """The card of files of which nothing is known."""
    text = f'{UNKNOWN} ({why})'
    network = Network(
        stage=stage,
        model=UNKNOWN,
        weights=UNKNOWN,
        supervision=text,
        known_by='not declared',
        learnt_from=text,
    )
    return SupervisionCard(networks=(network,), labels=text)


def _made_elsewhere(stage: Stage) -> dict[str, SupervisionCard]:
    """The card of the files that a stage takes over: that beside them, or of nothing."""
    path = getattr(stage, 'path', None)
    for folder in [] if path is None else [Path(path), Path(path).resolve().parent]:
        card = card_of_folder(folder)
        if card is not None:
            return {stage.name: card}
    return {stage.name: unknown_card(stage.name, 'made elsewhere')}


def _labels(said: str | None, split: Split | None) -> str | None:
    if said == TRUE_TAGS and split is not None and split.tags == 'masks':
        return TRUE_TAGS + FROM_MASKS
    return said


def _thresholds(
    own: SupervisionCard,
    ran: Ran,
    split: Split | None,
    inputs: Mapping[str, SupervisionCard],
) -> tuple[Threshold, ...]:
    """What the stage says of its threshold, and what its reading and metrics tell."""
    name, found = ran.stage.name, list(own.thresholds)
    for source, card in inputs.items():
        trained = any(network.stage == source for network in card.networks)
        measured = card.split is not None and card.split.masks is not None
        said = any(t.of == source and t.source == 'masks' for t in found)
        if measured and not trained and not said:
            # Whoever reads a measurement may have chosen by it.
            found.append(Threshold(name, 'masks', f'reads {source}', of=source))
    chosen = any(key.startswith('best_') for key in ran.metrics)
    here = [t for t in found if t.source == 'masks' and not t.of]
    if chosen and split is not None and split.masks and not here:
        found.append(Threshold(name, 'masks', 'the best'))
    value = ran.metrics.get('best_threshold', ran.metrics.get('threshold'))
    values = (float(value),) if isinstance(value, int | float) else ()
    return tuple(
        replace(
            t,
            values=t.values or values,
            split=split if t.source == 'masks' and not t.of else t.split,
        )
        for t in found
    )


def session_of(environment: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Who ran a stage where, as a card says it."""
    versions = environment.get('versions', {}).items()
    return dict(
        seeds=(seed,),
        commits=(str(environment.get('commit', UNKNOWN)),),
        versions=tuple(sorted(f'{name} {version}' for name, version in versions)),
        devices=(str(environment.get('device', UNKNOWN)),),
        workers=(int(environment.get('workers', 1)),),
    )
