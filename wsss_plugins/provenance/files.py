"""Reads and writes supervision cards in the files of stages and in weight files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wsss_plugins.backbones.weights import header_of
from wsss_plugins.engine.code_digests import UNKNOWN
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import DataError
from wsss_plugins.structures import layout, load_json, save_json
from wsss_plugins.structures.card import (
    Code,
    CodeState,
    KnownBy,
    Learnt,
    Network,
    SupervisionCard,
    Tags,
    Taught,
    history,
)
from wsss_plugins.structures.card_text import card_from_json, card_to_json, short_form
from wsss_plugins.structures.tables import add_remark

CARD_KEY = 'card'
BELOW = 'How these numbers were made: '


def save_metrics(
    path: Path, metrics: Mapping[str, Any], card: SupervisionCard | None
) -> None:
    """Writes metrics and their card as JSON; the file is complete or not written."""
    content = None if card is None else card_to_json(card)
    save_json(path, dict(metrics=dict(metrics)) | {CARD_KEY: content})


def sign(folder: Path, card: SupervisionCard) -> None:
    """Writes the card into the files of metrics of a stage; it replaces an older card."""
    path = folder / layout.SCORES_FILE
    content = load_json(path) if path.is_file() else None
    if isinstance(content, dict):
        save_json(path, {**content, CARD_KEY: card_to_json(card)})
    for name in (layout.CLASSES_FILE, layout.TABLE_FILE, layout.TEXT_TABLE_FILE):
        if (folder / name).is_file():
            add_card(folder / name, card)


def add_card(path: Path, card: SupervisionCard) -> None:
    """Adds the short form of a card to a table; it replaces an older card."""
    add_remark(path, CARD_KEY, BELOW, short_form(card))


def weights_metadata(card: SupervisionCard) -> dict[str, str]:
    """The header of a file of trained weights, which holds their card."""
    return {CARD_KEY: json.dumps(card_to_json(history(card)))}


def card_of_folder(folder: Path) -> SupervisionCard | None:
    """The card in the folder of a stage, or in a folder of ``wsss train``."""
    record = StageRecord.load(folder)
    if record is not None:
        return record.supervision
    path = folder / layout.METRICS_FILE
    content = load_json(path) if path.is_file() else None
    return _read(content.get(CARD_KEY)) if isinstance(content, dict) else None


def card_of_weights(path: Path) -> SupervisionCard | None:
    """The card of a weight file, from the folder or the header; None if there is none."""
    ours = path.name in (layout.WEIGHTS_FILE, layout.RESUME_FILE)
    card = card_of_folder(path.parent) if ours else None
    return card or _read(header_of(path).get(CARD_KEY))


def _read(content: Any) -> SupervisionCard | None:
    """Reads a card from JSON or from its text; None if it is no card."""
    try:
        return card_from_json(content)
    except DataError:
        return None


def unknown_card(stage: str, why: str = 'no card') -> SupervisionCard:
    """A card that states why the origin of files, which a stage made or imported, is unknown."""
    network = Network(
        stage, 'unknown', 'unknown', frozenset([Taught.UNKNOWN(why)]),
        (KnownBy.NOT_DECLARED(),), Learnt.UNKNOWN(why),
    )  # fmt: skip
    return SupervisionCard(networks=(network,), labels=Tags.UNKNOWN(why))


def renewed(card: SupervisionCard, networks: Mapping[str, Network]) -> SupervisionCard:
    """Updates a card to the initial weights that configs declare now, by stage.

    A declaration never overrides supervision that is known from a card or a timm name.
    """
    found: dict[str, Network] = {}
    for each in card.networks:
        now, first = networks.get(each.stage), found.get(each.begins_with)
        if now and {KnownBy.DECLARED(), KnownBy.NOT_DECLARED()} & {*each.known_by}:
            each = replace(each, supervision=now.supervision, known_by=now.known_by)
        elif first and first not in card.networks:
            each = replace(each, supervision=first.supervision)
        found[each.stage] = each
    return replace(card, networks=tuple(found.values()))


def renew(
    folder: Path,
    inputs: Sequence[Path],
    names: Collection[str],
    networks: Mapping[str, Network],
) -> None:
    """Updates the card in the folder of a stage that has run, if it has one.

    Its networks become those of :func:`renewed`. Its remarks on code become those on this
    stage and on the stages in the folders ``inputs``, which it read; remarks on stages that
    are not in ``names`` came with imported weights, and are kept.
    """
    record = StageRecord.load(folder)
    if record is None or record.supervision is None:
        return
    code = [each for each in record.supervision.code if each.stage not in names]
    for earlier in filter(None, map(card_of_folder, inputs)):
        code += earlier.code
    remarks = tuple(dict.fromkeys([*code, *remarks_on_code(record)]))
    card = replace(renewed(record.supervision, networks), code=remarks)
    if card != record.supervision:
        sign(folder, card)
        record.card = card_to_json(card)
        record.save(folder)


def remarks_on_code(record: StageRecord) -> tuple[Code, ...]:
    """The remark on the code of a stage; none if the record names the code it ran."""
    if record.code is None:
        return (Code(record.stage, CodeState.UNRECORDED),)
    if record.accepted is not None:
        return (Code(record.stage, CodeState.ACCEPTED),)
    return (Code(record.stage, CodeState.UNKNOWN),) * (UNKNOWN in record.code.values())
