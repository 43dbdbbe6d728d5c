"""Reads and writes supervision cards: in files of metrics, and in weight files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from wsss_plugins.backbones.weights import header
from wsss_plugins.engine.record import StageRecord
from wsss_plugins.errors import DataError
from wsss_plugins.provenance.tables import add_card
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.card import SupervisionCard, history
from wsss_plugins.structures.card_json import card_from_json, card_to_json
from wsss_plugins.structures.card_parts import (
    KnownBy,
    Learnt,
    Network,
    Tags,
    Taught,
)
from wsss_plugins.structures.layout import (
    CLASSES_FILE,
    METRICS_FILE,
    RESUME_FILE,
    SCORES_FILE,
    TABLE_FILE,
    TEXT_TABLE_FILE,
    WEIGHTS_FILE,
)

CARD_KEY = 'card'
TABLES = (CLASSES_FILE, TABLE_FILE, TEXT_TABLE_FILE)


def save_metrics(
    path: Path, metrics: Mapping[str, Any], card: SupervisionCard | None
) -> None:
    """Writes metrics and their card as JSON; the file is complete or not written."""
    content = None if card is None else card_to_json(card)
    save_json(path, dict(metrics=dict(metrics)) | {CARD_KEY: content})


def sign(folder: Path, card: SupervisionCard) -> None:
    """Writes the card into the files of metrics of a stage; it replaces an older card."""
    path = folder / SCORES_FILE
    if path.is_file():
        content = load_json(path)
        if isinstance(content, dict):
            save_json(path, {**content, CARD_KEY: card_to_json(card)})
    for name in TABLES:
        if (folder / name).is_file():
            add_card(folder / name, card)


def weights_metadata(card: SupervisionCard) -> dict[str, str]:
    """The header of a file of trained weights, which holds their card."""
    return {CARD_KEY: json.dumps(card_to_json(history(card)))}


def card_of_folder(folder: Path) -> SupervisionCard | None:
    """The card in the folder of a stage, or in a folder of ``tools/train.py``."""
    record = StageRecord.load(folder)
    if record is not None:
        return record.supervision
    path = folder / METRICS_FILE
    content = load_json(path) if path.is_file() else None
    return _read(content.get(CARD_KEY)) if isinstance(content, dict) else None


def card_of_weights(path: Path) -> SupervisionCard | None:
    """The card of a weight file, from the folder or the header; None if there is none."""
    path = Path(path)
    card = None
    if path.name in (WEIGHTS_FILE, RESUME_FILE):
        card = card_of_folder(path.parent)
    return _read(header_of(path).get(CARD_KEY)) if card is None else card


def header_of(path: Path) -> dict[str, str]:
    """The header of a weight file; empty if the file cannot be read."""
    try:
        return header(path) if path.is_file() else {}
    except (SafetensorError, OSError):
        return {}  # loading the weights raises an error that names the fault


def card_of_input(folder: Path) -> SupervisionCard:
    """The card of a stage that was read; if it has none, a card of unknown origin."""
    return card_of_folder(folder) or unknown_card(folder.name, 'no card')


def made_elsewhere(stage: str, path: Path | None) -> SupervisionCard:
    """The card of imported files.

    Args:
        stage: Name of the stage that imports them.
        path: Folder of the files.

    Returns:
        The card in ``path`` or its parent folder; else a card of unknown origin.
    """
    for folder in [] if path is None else [path, path.resolve().parent]:
        card = card_of_folder(folder)
        if card is not None:
            return card
    return unknown_card(stage, 'made elsewhere')


def card_of_checkpoint(path: Path, name: str) -> SupervisionCard:
    """The card of a weight file; if it has none, a card of unknown origin."""
    return card_of_weights(path) or unknown_card(name, 'no card')


def unknown_card(stage: str, why: str) -> SupervisionCard:
    """A card that states that the origin of files is not known.

    Args:
        stage: Name of the stage that made or imported the files.
        why: Why it is not known, such as 'no card'.
    """
    network = Network(
        stage=stage,
        model='unknown',
        weights='unknown',
        supervision=frozenset([Taught.UNKNOWN(why)]),
        known_by=(KnownBy.NOT_DECLARED(),),
        learnt_from=Learnt.UNKNOWN(why),
    )
    return SupervisionCard(networks=(network,), labels=Tags.UNKNOWN(why))


def _read(content: Any) -> SupervisionCard | None:
    """Reads a card from JSON or from its text; None if it is no card."""
    try:
        content = json.loads(content) if isinstance(content, str) else content
        return None if content is None else card_from_json(content)
    except (DataError, ValueError):
        return None
