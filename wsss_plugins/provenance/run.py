"""Runs stages and makes the supervision cards of their results.

Facts that can be observed take precedence over the stage's declaration: checksums of
images and masks, images that failed, and whether the stage read a measurement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsss_plugins.datasets.configs import first_dataset
from wsss_plugins.engine.record import environment
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import gather, rank, world_size
from wsss_plugins.provenance.files import card_of_input, made_elsewhere, sign
from wsss_plugins.provenance.images import (
    ImageRegister,
    checksum,
    file_checksum,
)
from wsss_plugins.provenance.parts import crfs_of, methods_of
from wsss_plugins.provenance.training import trained
from wsss_plugins.refiners.threshold import CRITERIA
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_parts import (
    Source,
    Split,
    Tags,
    TagSource,
    Threshold,
    read,
)
from wsss_plugins.structures.layout import FAILURES_FILE
from wsss_plugins.structures.masks_read import MasksRead, watch_masks
from wsss_plugins.structures.measured import Measured


@dataclass(frozen=True)
class Ran:
    """A finished run, usually of a stage, and what was observed of it.

    Attributes:
        name: Name of the stage.
        measured: Declaration of the stage.
        parts: Seed heads and refiners of the stage.
        config: Config of the stage.
        out: Folder of the stage.
        inputs: Folder of each stage that was read, by name.
        metrics: Metrics that the stage returned.
        masks: Ground-truth masks that any worker read.
    """

    name: str
    measured: Measured
    parts: Sequence[object] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    out: Path = Path()
    inputs: Mapping[str, Path] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    masks: MasksRead = field(default_factory=dict)


def run_with_card(
    stage: Stage,
    out: Path,
    inputs: Mapping[str, Path],
    *,
    config: Mapping[str, Any],
    images: ImageRegister | None = None,
    cards: Mapping[str, SupervisionCard] | None = None,
    session: SupervisionCard | None = None,
    work: Callable[[], dict[str, Any]] | None = None,
) -> tuple[dict[str, Any], SupervisionCard | None]:
    """Runs a stage, makes the card of its results and writes it into its tables.

    Args:
        stage: The stage.
        out: Folder of the stage.
        inputs: Folder of each stage that is read, by name.
        config: Config of the stage.
        images: Data sets that were read already, to share between stages.
        cards: Card of each input, by name; by default the card in the input's folder.
        session: Card with the seed, the versions and the machine; by default those of
            this process, with the stage's seed.
        work: Function to call in place of the stage's ``run``.

    Returns:
        The metrics, and the card. The card is None on all workers but the first, and for
        a stage that measures nothing.
    """
    images = images or ImageRegister()
    if cards is None:
        cards = {name: card_of_input(folder) for name, folder in inputs.items()}
    stage.begun = declared_card(stage, images).after(cards) if rank() == 0 else None
    if session is None:
        session = session_of(environment(world_size()), stage.seed)
    with watch_masks() as listed:
        metrics = stage.run(out, dict(inputs)) if work is None else work()
    masks = {key: mask for part in gather(listed) for key, mask in part.items()}
    measured = declared(stage)
    if rank() != 0 or measured is None:
        return metrics, None
    ran = Ran(stage.name, measured, stage.parts(), config, out, inputs, metrics, masks)
    card = make_card(ran, cards, images, session)
    sign(out, card)
    return metrics, card


def make_card(
    ran: Ran,
    inputs: Mapping[str, SupervisionCard],
    images: ImageRegister,
    session: SupervisionCard,
) -> SupervisionCard:
    """Makes the card of the results of a run.

    Args:
        ran: The finished run.
        inputs: Card of each stage that was read, by name.
        images: Data sets that were read already.
        session: Card with the seed, the versions and the machine.
    """
    said, split = ran.measured, _split(ran, images)
    own, earlier = _own_card(ran.name, said, images)
    if not inputs and not own.networks:
        inputs = {ran.name: made_elsewhere(ran.name, said.made_elsewhere)}
    if own.labels == Tags.TRUE() and split and split.tags is TagSource.MASKS:
        own = replace(own, labels=Tags.TRUE_FROM_MASKS())
    own = replace(
        own,
        protocol={**own.protocol, **_classes_counted(ran.metrics)},
        split=split,
        thresholds=_thresholds(ran, split, inputs),
        crf=crfs_of(ran.name, ran.parts, said.scales is not None),
        methods=methods_of(ran.name, ran.parts),
    )
    return own.after(earlier).also_by(session).after(inputs)


def _classes_counted(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The number of classes in a mean, for the card; empty if it is over all classes."""
    absent = metrics.get('absent_classes', 0)
    counted = metrics.get('classes')
    if not absent or counted is None:
        return {}
    return dict(classes=f'{counted} of {counted + absent}')


def declared_card(stage: Stage, images: ImageRegister) -> SupervisionCard:
    """The declaration of a stage as a card; the stage need not have run."""
    own, earlier = _own_card(stage.name, declared(stage) or Measured(), images)
    return own.after(earlier)


def declared(stage: Stage) -> Measured | None:
    """The declaration of a stage; None if the stage measures nothing.

    A stage that was written for an earlier version has no ``measured()``. The keys
    'labels', 'scales', 'flip', 'threshold' and 'convention' of its ``provenance()`` are
    then taken as its declaration.
    """
    kind = type(stage)
    if kind.measured is not Stage.measured or kind.provenance is Stage.provenance:
        return stage.measured()
    said = stage.provenance()
    scales, threshold, convention = map(said.get, ('scales', 'threshold', 'convention'))
    labels = read(Tags, str(said.get('labels')))
    found: tuple[Threshold, ...] = ()
    if isinstance(threshold, int | float):
        found = (Threshold(stage.name, Source.FIXED, values=(float(threshold),)),)
    elif threshold in CRITERIA:
        found = (Threshold(stage.name, Source.LABEL_FREE, str(threshold)),)
    return Measured(
        masks=bool(getattr(stage, 'needs_masks', False)),
        thresholds=found,
        labels=None if labels.kind in (Tags.OTHER, Tags.UNKNOWN) else labels,
        scales=None if scales is None else tuple(map(float, scales)),
        flip=said.get('flip'),
        protocol=dict(convention=str(convention)) if convention else {},
    )


def session_of(environment: Mapping[str, Any], seed: int) -> SupervisionCard:
    """A card with the seed, the commit, the versions and the machine of a run."""
    versions = environment.get('versions', {}).items()
    return SupervisionCard(
        seeds=(seed,),
        commits=(str(environment.get('commit', 'unknown')),),
        versions=tuple(sorted(f'{name} {version}' for name, version in versions)),
        devices=(str(environment.get('device', 'unknown')),),
        workers=(int(environment.get('workers', 1)),),
    )


def _own_card(
    name: str, said: Measured, images: ImageRegister
) -> tuple[SupervisionCard, Mapping[str, SupervisionCard]]:
    """The declaration as a card, and the cards of the weights and label maps it names."""
    networks, earlier = said.networks, dict(said.begun_with)
    if said.training is not None:
        found, maps = trained(said.networks, said.training, images)
        networks, earlier = found, maps | earlier
    own = SupervisionCard(
        networks=networks,
        thresholds=said.thresholds,
        labels=said.labels,
        scales=said.scales,
        flip=said.flip,
        protocol=dict(said.protocol),
    )
    return own, earlier


def _split(ran: Ran, images: ImageRegister) -> Split | None:
    """The images of the results, with the checksum of their masks if any was read."""
    said = ran.measured
    node = first_dataset(ran.config if said.images is None else said.images)
    if node is None:
        return _split_of_masks(ran.masks) if ran.masks else None
    found, masks = (
        images.find(node, _failed(ran) if said.without_failed else set()),
        None,
    )
    if said.mask_files:
        masks = checksum(''.join(map(file_checksum, said.mask_files)))
    elif (said.masks or ran.masks) and node.get('label_maps'):
        masks = images.masks_checksum(node, found, ran.masks)
    elif ran.masks:
        masks = _split_of_masks(ran.masks).masks
    return replace(found.split, masks=masks)


def _split_of_masks(listed: MasksRead) -> Split:
    """The masks that were read, as a split, if the config names no data set."""
    rows = sorted((name, mask) for (_, name), mask in listed.items())
    names, masks = (json.dumps(part) for part in zip(*rows, strict=True))
    return Split('masks', 'read', len(rows), checksum(names), checksum(masks))


def _failed(ran: Ran) -> set[str]:
    """Ids of the images on which the stage, or a stage that it read, failed."""
    paths = [folder / FAILURES_FILE for folder in (ran.out, *ran.inputs.values())]
    return {name for path in paths if path.is_file() for name in load_json(path)}


def _thresholds(
    ran: Ran, split: Split | None, inputs: Mapping[str, SupervisionCard]
) -> tuple[Threshold, ...]:
    """The declared thresholds with their values, and one for each measurement read."""
    value = ran.metrics.get(ran.measured.threshold_metric)
    values = () if value is None else (float(value),)
    found = [
        replace(
            t,
            values=t.values or values,
            split=split if t.source is Source.MASKS and not t.of else t.split,
        )
        for t in ran.measured.thresholds
    ]
    told = {t.of for t in found if t.source is Source.MASKS}
    for source, card in inputs.items():
        is_trained = any(network.stage == source for network in card.networks)
        masks = card.split is not None and card.split.masks is not None
        if masks and not is_trained and source not in told:
            # A stage that reads a measurement may have chosen its threshold by it.
            detail = f'reads {source}'
            found.append(Threshold(ran.name, Source.MASKS, detail, of=source))
    return tuple(found)
