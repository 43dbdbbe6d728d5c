"""How large the idea of provenance is, counted as its reader would."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / 'wsss_plugins'
PLACES = (
    'structures/card*.py',
    'structures/masks_read.py',
    'structures/measured.py',
    'provenance/*.py',
    'report/cards.py',
)
MOST = 1400


def test_provenance_does_not_grow() -> None:
    files = [path for place in PLACES for path in sorted(PACKAGE.glob(place))]
    lines = {path.name: len(path.read_text('utf-8').splitlines()) for path in files}
    assert len(lines) > 10, 'files moved: correct PLACES'
    assert sum(lines.values()) <= MOST, lines
