"""Updates the cards of finished stages to later declarations in configs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wsss_plugins.engine.code_digests import UNKNOWN
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.provenance.files import card_of_folder, sign
from wsss_plugins.structures.card import SupervisionCard
from wsss_plugins.structures.card_json import card_to_json
from wsss_plugins.structures.card_parts import Code, CodeState, KnownBy, Network


def renewed(card: SupervisionCard, networks: Mapping[str, Network]) -> SupervisionCard:
    """Updates a card to the supervision of initial weights that configs declare now.

    Args:
        card: Card of a stage that is done.
        networks: Networks of the current configs, by stage. A declaration never
            overrides supervision that is known from a card or a timm name.
    """
    changed: dict[str, Network] = {}
    for network in card.networks:
        now, first = networks.get(network.stage), changed.get(network.begins_with)
        declared = {KnownBy.DECLARED(), KnownBy.NOT_DECLARED()} & {*network.known_by}
        if now is not None and declared:
            network = replace(
                network, supervision=now.supervision, known_by=now.known_by
            )
        elif first is not None:
            network = replace(network, supervision=first.supervision)
        changed[network.stage] = network
    return replace(card, networks=tuple(changed.values()))


def renew(folder: Path, networks: Mapping[str, Network]) -> None:
    """Updates the card in the folder of a stage, see :func:`renewed`."""
    record = StageRecord.load(folder)
    card = record.supervision if record is not None else None
    if record is not None and card is not None:
        _replace(folder, record, card, renewed(card, networks))


def renew_code(folder: Path, inputs: Sequence[Path], names: Collection[str]) -> None:
    """Updates the remarks on code in the card of a stage.

    The remarks are computed from the record of the stage and from the cards of the stages
    that it read. A stage without a card is not changed.

    Args:
        folder: Folder of the stage, which has run.
        inputs: Folders of the stages that it read.
        names: Names of all stages of the experiment. Remarks on other stages, which came
            with imported weights, are kept.
    """
    record = StageRecord.load(folder)
    card = record.supervision if record is not None else None
    if record is None or card is None:
        return
    code = [each for each in card.code if each.stage not in names]
    for path in inputs:
        earlier = card_of_folder(path)
        code += earlier.code if earlier is not None else ()
    state = code_state(record)
    if state is not None:
        code.append(Code(record.stage, state))
    now = replace(card, code=tuple(dict.fromkeys(code)))
    _replace(folder, record, card, now)


def code_state(record: StageRecord) -> CodeState | None:
    """The remark on the code of a stage; None if the record names the code it ran."""
    if record.code is None:
        return CodeState.UNRECORDED
    if record.accepted is not None:
        return CodeState.ACCEPTED
    return CodeState.UNKNOWN if UNKNOWN in record.code.values() else None


def _replace(
    folder: Path, record: StageRecord, card: SupervisionCard, now: SupervisionCard
) -> None:
    """Replaces ``card`` by ``now`` in the files of a stage, if the two differ."""
    if now != card:
        sign(folder, now)
        record.card = card_to_json(now)
        record.save(folder)
