"""Runs stages and makes the supervision cards of their results.

Facts that are observed, such as images that failed, go before the stage's declaration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsss_plugins.datasets.configs import first_datasets
from wsss_plugins.engine.record import environment
from wsss_plugins.engine.stage import Stage
from wsss_plugins.engine.workers import gather, rank, world_size
from wsss_plugins.provenance.files import card_of_folder, sign, unknown_card
from wsss_plugins.provenance.images import ImageRegister, checksum
from wsss_plugins.provenance.networks import trained
from wsss_plugins.refiners import DenseCRF, Refiner, RefinerChain
from wsss_plugins.seeds import SeedHead
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import (
    CRF,
    AppliedTo,
    Code,
    CodeState,
    Method,
    Source,
    Split,
    SupervisionCard,
    Tags,
    Threshold,
)
from wsss_plugins.structures.layout import FAILURES_FILE
from wsss_plugins.structures.masks_read import MasksRead, watch_masks
from wsss_plugins.structures.measured import Measured


@dataclass(frozen=True)
class Ran:
    """A finished run, usually of a stage, and what was observed of it."""

    name: str  # name of the stage
    measured: Measured  # declaration of the stage
    parts: Sequence[object] = ()  # seed heads and refiners of the stage
    config: Mapping[str, Any] = field(default_factory=dict)
    out: Path = Path()  # folder of the stage
    inputs: Mapping[str, Path] = field(default_factory=dict)  # folders of what was read
    metrics: Mapping[str, Any] = field(default_factory=dict)
    masks: MasksRead = field(default_factory=dict)  # masks that any worker read


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
        cards = {
            n: card_of_folder(f) or unknown_card(f.name) for n, f in inputs.items()
        }
    stage.begun = declared_card(stage, images).after(cards) if rank() == 0 else None
    session = session or session_of(environment(world_size()), stage.seed)
    with watch_masks() as listed:
        metrics = stage.run(out, dict(inputs)) if work is None else work()
    masks = {key: mask for part in gather(listed) for key, mask in part.items()}
    measured = stage.declared()
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
    """Makes the card of the results of a run from the cards of the stages that it read.

    ``session`` is a card with the seed, the versions and the machine.
    """
    said, split = ran.measured, _split(ran, images)
    if not inputs and not said.networks:
        path = said.made_elsewhere
        folders = [path, path.resolve().parent] if path else []
        found = next(filter(None, map(card_of_folder, folders)), None)
        inputs = {ran.name: found or unknown_card(ran.name, 'made elsewhere')}
    from_masks = said.labels == Tags.TRUE() and split and split.tags == 'masks'
    counted, absent = map(ran.metrics.get, ('classes', 'absent_classes'))
    protocol = dict(said.protocol)
    if absent and counted is not None:
        protocol['classes'] = f'{counted} of {counted + absent}'
    own = replace(
        said,
        code=(Code(ran.name, CodeState.LOST),)
        * ('seed_background_share' in ran.metrics),
        split=split,
        labels=Tags.TRUE_FROM_MASKS() if from_masks else said.labels,
        protocol=protocol,
        thresholds=_thresholds(ran, split, inputs),
        crf=crfs_of(ran.name, ran.parts, said.scales is not None),
        methods=methods_of(ran.name, ran.parts),
    )
    return _begun(own, images).joined([session]).after(inputs)


def declared_card(stage: Stage, images: ImageRegister) -> SupervisionCard:
    """The declaration of a stage as a card; the stage need not have run."""
    return _begun(stage.declared() or Measured(), images)


def _begun(said: Measured, images: ImageRegister) -> SupervisionCard:
    """A declaration as a card, which goes on from the weights and label maps it names."""
    if said.training is None:
        return said.after(said.begun_with)
    networks, maps = trained(said.networks, said.training, images)
    return replace(said, networks=networks).after({**maps, **said.begun_with})


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


def _split(ran: Ran, images: ImageRegister) -> Split | None:
    """The images of the results, with the checksum of their masks if any was read."""
    said, split, masks = ran.measured, None, None
    if ran.masks:
        rows = sorted((name, mask) for (_, name), mask in ran.masks.items())
        names, masks = (checksum(json.dumps(part)) for part in zip(*rows, strict=True))
        split = Split('masks', 'read', len(rows), names, masks)
    nodes = first_datasets(ran.config if said.images is None else said.images)
    if not nodes:
        return split
    paths = [folder / FAILURES_FILE for folder in (ran.out, *ran.inputs.values())]
    failed = {name for path in paths if path.is_file() for name in load_json(path)}
    found = images.find(nodes, failed if said.without_failed else set())
    if said.mask_files:
        sums = [hashlib.sha256(f.read_bytes()).hexdigest() for f in said.mask_files]
        masks = checksum(''.join(sums))
    elif (said.masks or ran.masks) and all(node.get('label_maps') for node in nodes):
        masks = images.masks_checksum(nodes, found, ran.masks)
    return replace(found.split, masks=masks)


def _thresholds(
    ran: Ran, split: Split | None, inputs: Mapping[str, SupervisionCard]
) -> tuple[Threshold, ...]:
    """The declared thresholds with their values, and one for each measurement read."""
    value = ran.metrics.get(ran.measured.threshold_metric)
    values = () if value is None else (float(value),)
    found = []
    for t in ran.measured.thresholds:
        on = split if t.source is Source.MASKS and not t.of else t.split
        found.append(replace(t, values=t.values or values, split=on))
    told = {t.of for t in found if t.source is Source.MASKS}
    for name, card in inputs.items():
        is_trained = any(network.stage == name for network in card.networks)
        if card.split and card.split.masks and not is_trained and name not in told:
            # A stage that reads a measurement may have chosen its threshold by it.
            found.append(Threshold(ran.name, Source.MASKS, f'reads {name}', of=name))
    return tuple(found)


def methods_of(stage: str, parts: Iterable[object]) -> tuple[Method, ...]:
    """The class names of a stage's seed heads and refiners, as one entry of a card."""
    names = dict.fromkeys(type(part).__name__ for part in _all(parts))
    return (Method(stage, ', '.join(names)),) if names else ()


def crfs_of(stage: str, parts: Iterable[object], infers: bool) -> tuple[CRF, ...]:
    """The dense CRFs of a stage; those of a stage that infers refine its predictions."""
    on = AppliedTo.PREDICTIONS if infers else AppliedTo.LABELS
    dense = (part for part in _all(parts) if isinstance(part, DenseCRF))
    return tuple(dict.fromkeys(CRF(stage, on, *part.described()) for part in dense))


def _all(parts: Iterable[object]) -> Iterator[object]:
    """Seed heads and refiners, each followed by the parts that it applies."""
    for part in parts:
        if isinstance(part, SeedHead):
            yield from (m for m in part.modules() if isinstance(m, SeedHead))
        elif isinstance(part, Refiner):
            if not isinstance(part, RefinerChain):
                yield part
            yield from _all(part.parts())
