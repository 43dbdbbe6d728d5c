"""The table of a matrix: its means, marks and gaps, in three formats."""

from __future__ import annotations

import csv
import statistics
from html.parser import HTMLParser
from typing import Any

import pytest

from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import UserError
from wsss_plugins.experiment.matrix import (
    BEST,
    Choice,
    Matrix,
    Plan,
    Table,
    write_tables,
)
from wsss_plugins.structures import SupervisionCard
from wsss_plugins.structures.card import (
    KnownBy,
    Learnt,
    Network,
    Source,
    Split,
    Tags,
    Threshold,
    supervision_in,
)
from wsss_plugins.structures.card_text import card_to_json

BACKGROUND = dict(type='ConstantBackground')
IMAGES = dict(type='VOC12', data_root='data', split='train')
CONTENT: dict[str, Any] = dict(
    classifiers=dict(vit='training.py'),
    heads=dict(cam=dict(type='CAM'), rollout=dict(type='AttentionRollout')),
    refiners=dict(none=[BACKGROUND], pamr=[BACKGROUND, dict(type='PAMR')]),
    images=IMAGES,
    masks=dict(IMAGES, label_maps='SegmentationClass', test_mode=True),
    seeds=[0, 1, 2],
    refine=dict(threshold='otsu'),
)
CARD = SupervisionCard(
    split=Split('VOC12', 'val', 12, 'a' * 16),
    thresholds=(Threshold('x', Source.LABEL_FREE, 'otsu'),),
    labels=Tags.TRUE(),
    seeds=(0,),
)
MEASURED = {'vit__cam': (40.0, 42.0, 47.0), 'vit__rollout': (50.0, 30.0, 41.0)}


def record(name: str, seed: int, value: float, card: SupervisionCard = CARD) -> Any:
    metrics = {'best_miou' if name.endswith(BEST) else 'miou': value}
    if '__' not in name:
        metrics = {'multilabel/mAP': value}
    return StageRecord(
        name, 'Kind', 'f', {}, seed, True, metrics, seconds=10.0, finished='2026-01-01T00:00',
        environment=dict(commit='abc', device='CPU', threads=1, versions=dict(torch='2')),
        card=card_to_json(SupervisionCard(**{**vars(card), 'seeds': (seed,)})),
    )  # fmt: skip


def table(
    seeds: tuple[int, ...] = (0, 1, 2),
    unlike: SupervisionCard | None = None,
    refused: dict[str, str] | None = None,
    failed: dict[int, dict[str, str]] | None = None,
    notes: str = '',
) -> Table:
    """Every column has the same numbers, plus ten at the best threshold."""
    found = Plan(Matrix(**CONTENT, title='<b>', notes=notes))
    gone = {*(refused or {}), *(name for of in (failed or {}).values() for name in of)}
    records: dict[int, dict[str, StageRecord]] = {}
    for seed in (0, 1, 2):
        made = [record('vit', seed, 90.0 + seed)] if seed in seeds else []
        for (choice, column), cell in found.cells.items():
            row = f'vit__{choice.head}'
            if seed not in seeds or row in gone:
                continue
            card = unlike if unlike and choice.head == 'rollout' else CARD
            value = MEASURED[row][seed] + 10 * (column == BEST)
            made += [record(name, seed, value, card) for name in cell.stages[-2:]]
        records[seed] = {r.stage: r for r in made}
    return Table(found, records, refused or {}, failed or {})


def test_mean_and_sample_deviation_by_hand(tmp_path) -> None:
    entry = table().entries[Choice('vit', 'cam'), 'none']
    assert entry.mean == pytest.approx(43.0)
    assert entry.spread == pytest.approx(13**0.5)  # (9 + 1 + 16) / (3 - 1)
    assert entry.card is not None and entry.card.runs == 3
    assert entry.seconds == pytest.approx(20.0)
    assert table((1,)).entries[Choice('vit', 'cam'), 'none'].spread is None
    assert table().missing == 0 and table((0, 2)).missing == 2 * 3
    first = write_tables(table(), tmp_path / 'a.b')[0]
    assert first == tmp_path / 'a.b.md', 'a point belongs to the name'
    text = first.read_text()
    assert '| vit | cam | **53.0 ± 3.6** | **43.0 ± 3.6** | **43.0 ± 3.6** |' in text
    assert '|  | rollout | 50.3 ± 10.0 | 40.3 ± 10.0 | 40.3 ± 10.0 |' in text
    assert '- vit: cam with none, 43.0 ± 3.6' in text
    assert '- vit: validation mAP 91.0 ± 1.0' in text
    assert "'otsu' finds in their maps: no mask has a say" in text
    assert '- none: VOC12 val 12 · thr: otsu · true tags · 3 seeds' in text
    assert 'Unfinished' not in text and 'Without a number' not in text


def test_a_partial_table_says_so(tmp_path) -> None:
    text = write_tables(table((0, 2)), tmp_path / 'a')[0].read_text()
    assert '| vit | cam | 53.5 ± 4.9 (2 of 3) | 43.5 ± 4.9 (2 of 3) |' in text
    assert 'Unfinished: 6 runs of cells are not there yet.' in text
    text = write_tables(table(()), tmp_path / 'a')[0].read_text()
    assert '| vit | cam | not yet | not yet | not yet |' in text


def test_what_is_absent_and_why(tmp_path) -> None:
    failed = {0: {'vit__cam': 'no | luck'}, 1: {'vit__cam': 'no | luck'}}
    found = table(refused={'vit__rollout': 'it <cannot>'}, failed=failed)
    md, table_csv, html = write_tables(found, tmp_path / 'a')
    assert '| vit | cam | failed | failed | failed |' in md.read_text()
    assert '- vit, rollout: it <cannot>' in md.read_text()
    both = 'stage vit__cam, seed 0; stage vit__cam, seed 1: failed: no | luck'
    assert f'- {both}\n' in md.read_text()
    assert 'it &lt;cannot&gt;' in html.read_text()
    rows = list(csv.DictReader(table_csv.read_text().splitlines()))
    assert rows[0]['absent'] == 'seed 0: no | luck; seed 1: no | luck'
    assert rows[0]['miou'] == '' and rows[-1]['absent'] == 'it <cannot>'
    assert found.missing == 3, 'seed 2 of cam'


def test_csv_has_every_number_in_full(tmp_path) -> None:
    path = write_tables(table(), tmp_path / 'a')[1]
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 2 * 3
    row = next(r for r in rows if (r['head'], r['column']) == ('rollout', 'none'))
    values = [float(value) for value in row['each'].split()]
    assert values == [50, 30, 41] and row['seeds'] == '0 1 2' and row['runs'] == '3'
    assert float(row['miou']) == statistics.mean(values)
    assert float(row['spread']) == statistics.stdev(values)
    assert row['card'] == 'VOC12 val 12 · thr: otsu · true tags · 3 seeds'


def test_unlike_numbers_are_refused_or_marked(tmp_path) -> None:
    network = Network(
        'vit',
        'Net',
        'a.pth',
        supervision_in('COCO pixels'),
        (KnownBy.DECLARED(),),
        Learnt.NOTHING(),
    )
    other = SupervisionCard(**{**vars(CARD), 'networks': (network,)})
    found = table(unlike=other)
    with pytest.raises(UserError, match='initial weights: COCO pixels, not none'):
        found.refuse_unlike()
    table().refuse_unlike()
    assert set(found.signs.values()) == {'†'}, 'one sign for all columns'
    md, table_csv, html = write_tables(found, tmp_path / 'a')
    assert '|  | rollout | 50.3 ± 10.0 † |' in md.read_text()
    assert '\n† initial weights: COCO pixels, not none' in md.read_text()
    assert md.read_text().count('- none: VOC12') == 2, 'both kinds of cards'
    assert '<sup>†</sup>' in html.read_text()
    rows = list(csv.DictReader(table_csv.read_text().splitlines()))
    assert [r['unlike'] != '' for r in rows] == [False] * 3 + [True] * 3


class Elements(HTMLParser):
    """Insists that every element that opens closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(v) for k, v in attrs if k in ('src', 'href')]
        if tag not in ('meta', 'wbr', 'img'):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_escaped(tmp_path) -> None:
    found = table(notes='One & two.\n\nThree.')
    text = write_tables(found, tmp_path / 'a', 'python <x>')[2].read_text()
    page = Elements(text)
    assert page.open == [] and page.links == []
    assert '<h1>&lt;b&gt;</h1>' in text and '<p>One &amp; two.</p><p>Three.</p>' in text
    assert '<code>python &lt;x&gt;</code>' in text
    assert text.count('<td') == 2 * 3, 'a cell for each number'
    assert 'prefers-color-scheme: dark' in text
    assert 'seed 0: 40.00, seed 1: 42.00, seed 2: 47.00' in text
