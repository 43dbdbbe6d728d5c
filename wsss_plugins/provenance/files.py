"""Cards in files: beside the numbers they are about, and with trained weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsss_plugins.provenance.initial import CARD_KEY
from wsss_plugins.provenance.tables import add_card
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.card import SupervisionCard, history
from wsss_plugins.structures.card_json import card_to_json

SCORES_FILE = 'scores.json'
TABLES = ('classes.csv', 'table.csv', 'table.md')


def save_metrics(
    path: Path, metrics: Mapping[str, Any], card: SupervisionCard | None
) -> None:
    """Writes metrics with their card as JSON, whole or not at all."""
    content = None if card is None else card_to_json(card)
    save_json(path, dict(metrics=dict(metrics)) | {CARD_KEY: content})


def sign(folder: Path, card: SupervisionCard) -> None:
    """Puts the card into the files of metrics that a stage wrote, in place of an older one."""
    path = folder / SCORES_FILE
    if path.is_file():
        content = load_json(path)
        if isinstance(content, dict):
            save_json(path, {**content, CARD_KEY: card_to_json(card)})
    for name in TABLES:
        if (folder / name).is_file():
            add_card(folder / name, card)


def weights_metadata(card: SupervisionCard) -> dict[str, str]:
    """What a file of trained weights says of itself, for its header."""
    return {CARD_KEY: json.dumps(card_to_json(history(card)))}
