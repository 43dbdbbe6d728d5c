"""Tables of results: unlike rows are refused, or marked, and never by accident."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import UserError
from wsss_plugins.provenance.compare import mark_unlike
from wsss_plugins.provenance.files import add_card, save_metrics
from wsss_plugins.report.comparison import comparison, refuse_unlike
from wsss_plugins.report.rows import Row, headline, mean_rows, rows_of, rows_of_all
from wsss_plugins.structures.card import Source, Split, SupervisionCard, Tags, Threshold
from wsss_plugins.structures.card_text import card_to_json, short_form
from wsss_plugins.structures.tables import write_csv, write_markdown

TRAIN = SupervisionCard(
    split=Split('VOC12', 'train', 24, 'aaaaaaaa', masks='mmmm'),
    labels=Tags.TRUE(),
    scales=(1.0,),
    flip=True,
    seeds=(0,),
    runs=1,
)
VAL = replace(
    TRAIN, split=Split('VOC12', 'val', 12, 'bbbbbbbb', masks='nnnn'), labels=Tags.NONE()
)
FIXED = replace(TRAIN, thresholds=(Threshold('pseudo', Source.FIXED, values=(0.3,)),))


def row(title: str, card: SupervisionCard | None, **metrics: float) -> Row:
    return Row(title, metrics or dict(mIoU=50.0), card)


def test_like_rows_have_no_marks() -> None:
    marks = mark_unlike([TRAIN, replace(TRAIN, seeds=(1,), commits=('c',))])
    assert marks.signs == ['', ''] and marks.notes == []
    assert mark_unlike([]).signs == [] and mark_unlike([None]).signs == ['']


def test_the_largest_group_is_the_measure_of_the_others() -> None:
    marks = mark_unlike([VAL, TRAIN, FIXED, TRAIN, VAL, TRAIN, None])
    assert marks.signs == ['†', '', '‡', '', '†', '', '§']
    assert marks.notes == [
        '† images: VOC12 val 12 [bbbbbb], not VOC12 train 24 [aaaaaa]; '
        'tags at inference: none, not image-level ground truth',
        '‡ threshold: fixed, not none',
        '§ no card: it is not recorded how this number was made',
    ]
    first = mark_unlike([VAL, TRAIN])
    assert first.signs == ['', '†'], 'the first of equal ones'


def test_many_groups_have_signs_of_their_own() -> None:
    cards = [replace(TRAIN, scales=(float(n),)) for n in range(1, 8)]
    signs = mark_unlike(cards).signs
    assert signs == ['', '†', '‡', '§', '¶', '††', '‡‡']


@pytest.mark.parametrize(
    ('change', 'note'),
    [
        (dict(flip=False), 'flip: no, not yes'),
        (dict(scales=(0.5, 1.0)), 'scales: 0.5, 1, not 1'),
        (dict(protocol=dict(convention='irn')), 'protocol: convention irn, not none'),
        (dict(split=replace(TRAIN.split, masks='x')), 'masks: others'),
        (dict(split=replace(TRAIN.split, masks=None)), 'masks: none read'),
    ],
)
def test_notes_are_words(change: dict, note: str) -> None:
    marks = mark_unlike([TRAIN, TRAIN, replace(TRAIN, **change)])
    assert marks.notes == [f'† {note}']


def test_unlike_rows_are_refused_in_one_line() -> None:
    rows = [row('a', TRAIN), row('b', TRAIN), row('c', VAL)]
    with pytest.raises(UserError) as error:
        refuse_unlike(rows, 'do that')
    assert str(error.value) == (
        "1 of 3 rows are unlike the others, first 'c' (compared with 'a'): images: VOC12 "
        'val 12 [bbbbbb], not VOC12 train 24 [aaaaaa]; tags at inference: none, not '
        'image-level ground truth; do that'
    )
    refuse_unlike(rows[:2], 'do that')
    refuse_unlike([row('a', None)], 'alone it mixes with nothing')
    with pytest.raises(UserError, match=r'2 of 2 rows are unlike .* no card'):
        refuse_unlike([row('a', None), row('b', None)], 'do that')
    with pytest.raises(UserError, match=r"first 'b' .*: no card"):
        refuse_unlike([row('a', TRAIN), row('b', None)], 'do that')


def test_markdown_and_csv_with_marks() -> None:
    rows = [row('a', TRAIN), row('b', VAL, mIoU=1.0, FP=2.0), row('c', None)]
    with pytest.raises(UserError, match='or give --mix'):
        comparison(rows)
    assert comparison(rows, mix=True).splitlines() == [
        '|  | mIoU | FP | how it was made |',
        '| --- | ---: | ---: | --- |',
        '| a | 50.00 | - | VOC12 train 24 · true tags · flip · 1 seed |',
        '| b † | 1.00 | 2.00 | VOC12 val 12 · flip · 1 seed |',
        '| c ‡ | 50.00 | - | no card |',
        '',
        '† images: VOC12 val 12 [bbbbbb], not VOC12 train 24 [aaaaaa]; '
        'tags at inference: none, not image-level ground truth',
        '',
        '‡ no card: it is not recorded how this number was made',
    ]
    found = list(csv.DictReader(io.StringIO(comparison(rows, True, as_csv=True))))
    assert [r['mIoU'] for r in found] == ['50.0', '1.0', '50.0']
    assert found[0]['unlike'] == '' and found[2]['unlike'].startswith('no card: ')
    assert found[1]['card'] == short_form(VAL)


def test_mean_over_runs() -> None:
    runs = [
        row('a', replace(TRAIN, seeds=(seed,)), mIoU=value)
        for seed, value in enumerate((40.0, 50.0, 60.0))
    ]
    (mean,) = mean_rows(runs)
    assert mean.metrics == dict(mIoU=50.0) and mean.spreads == dict(mIoU=10.0)
    assert mean.card is not None and mean.card.seeds == (0, 1, 2)
    assert '| a | 50.00 ± 10.00 | VOC12 train 24 · true tags · flip · 3 seeds |' in (
        comparison([mean])
    )
    assert 'row,mIoU,mIoU spread,card,unlike' in comparison([mean], as_csv=True)
    with pytest.raises(UserError, match='more than the seed'):
        mean_rows([row('a', TRAIN), row('a', VAL)])
    (lost,) = mean_rows([row('a', TRAIN), row('a', None)])
    assert lost.card is None, 'one of them is not known'


def save(
    folder: Path, stage: str, metrics: dict, card=None, done=True, when=''
) -> None:
    StageRecord(
        stage, 'MadeUp', 'mark', {}, 0, done, metrics, finished=when,
        card=card and card_to_json(card),
    ).save(folder / stage)  # fmt: skip


def test_rows_of_work_dirs_stages_and_files(tmp_path: Path) -> None:
    work = tmp_path / 'one'
    save(work, 'zeta', {'seg/mIoU': 12.0, 'seg/aAcc': 3.0}, VAL, when='1')
    save(work, 'alpha', dict(best_miou=14.0, best_threshold=0.5), TRAIN, when='2')
    save(work, 'seeds', dict(images=3, failed=0), TRAIN, when='3')
    save(work, 'broken', dict(miou=99.0), TRAIN, done=False, when='4')
    save(work, 'test', dict(lrp_miou=5.0, images=4), VAL, when='5')
    rows = rows_of(work)
    assert [(r.title, r.metrics) for r in rows] == [
        ('zeta', dict(mIoU=12.0)),
        ('alpha', dict(mIoU=14.0)),
    ]
    assert [r.card for r in rows] == [VAL, TRAIN]
    assert rows_of(work, ['test'])[0].metrics == dict(lrp_miou=5.0)
    assert rows_of(work / 'alpha')[0] == rows_of(work / 'alpha/record.json')[0]
    chosen = rows_of(work, metrics=['aAcc', 'best_threshold'])
    assert [r.metrics for r in chosen] == [{'seg/aAcc': 3.0}, dict(best_threshold=0.5)]
    save_metrics(tmp_path / 'alone/metrics.json', {'multilabel/mAP': 9}, VAL)
    (alone,) = rows_of(tmp_path / 'alone')
    assert (alone.title, alone.metrics, alone.card) == ('alone', dict(mAP=9.0), VAL)
    titles = [r.title for r in rows_of_all([work, tmp_path / 'alone'], ())]
    assert titles == ['one: zeta', 'one: alpha', 'alone']


def test_mistakes_in_naming_results(tmp_path: Path) -> None:
    save(tmp_path, 'seeds', dict(images=3))
    with pytest.raises(
        UserError, match="no stage 'seed' that is done: there are seeds"
    ):
        rows_of(tmp_path, ['seed'])
    with pytest.raises(UserError, match='has no results of that kind'):
        rows_of(tmp_path)
    with pytest.raises(UserError, match='holds no results'):
        rows_of(tmp_path / 'nowhere')


def test_means_over_the_work_dirs_of_a_folder(tmp_path: Path) -> None:
    for method in 'ab':
        for seed in (0, 1):
            work = tmp_path / method / f'seed_{seed}'
            card = replace(TRAIN, seeds=(seed,))
            save(work, 'score', dict(miou=10.0 * seed + (method == 'b')), card)
    paths = sorted(tmp_path.glob('*/*'))
    rows = rows_of_all(paths, mean=True)
    assert [(r.title, r.metrics['mIoU']) for r in rows] == [
        ('a: score', 5),
        ('b: score', 6),
    ]
    assert [r.title for r in rows_of_all(paths)] == [
        f'{method}/seed_{seed}: score' for method in 'ab' for seed in (0, 1)
    ]
    assert [r.title for r in rows_of_all(paths[:2], mean=True)] == ['score']


def test_tables_of_a_stage_say_how_they_were_made(tmp_path: Path) -> None:
    write_csv(tmp_path / 'table.csv', ['method', 'mIoU'], [['a', 1.0], ['b', None]])
    write_markdown(tmp_path / 'table.md', ['method', 'mIoU'], [['a', 1.0]])
    before = (tmp_path / 'table.md').read_text()
    for card in (VAL, TRAIN):  # again, as after a renewal
        add_card(tmp_path / 'table.csv', card)
        add_card(tmp_path / 'table.md', card)
    with (tmp_path / 'table.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['card'] for row in rows] == [short_form(TRAIN)] * 2
    assert rows[0]['mIoU'] == '1.0' and list(rows[0]) == ['method', 'mIoU', 'card']
    text = (tmp_path / 'table.md').read_text()
    assert text == f'{before}\nHow these numbers were made: {short_form(TRAIN)}\n'


def test_the_main_result_of_a_stage() -> None:
    assert headline({'seg/aAcc': 1, 'seg/mIoU': 2}) == 'seg/mIoU'
    assert headline(dict(miou=1, best_miou=2)) == 'best_miou'
    assert headline(dict(images=3)) == ''
