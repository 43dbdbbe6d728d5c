"""The report of a small made-up experiment: what it says, and that it needs nothing else."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import save_image

from wsss_plugins.datasets import VOC12
from wsss_plugins.engine import StageRecord
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.report import ReportStage
from wsss_plugins.report.results import Results
from wsss_plugins.stages import EvaluateLabelStage, EvaluateSeedStage
from wsss_plugins.structures import Seed, load_json, save_json, save_label_map
from wsss_plugins.structures.card import Method, Split, SupervisionCard, Tags
from wsss_plugins.structures.card_text import card_to_json
from wsss_plugins.structures.layout import label_path, seed_path

SIZE = (12, 20)
TITLE = 'Cats <b> & "dogs"'
LABELS = {'a': 1, 'b': 2, 'c': 1, 'd': 2, 'e': 1, 'none': 0}


def truth_of(label: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[2:10, 4:16] = label
    mask[:, -1] = 255
    return mask


def make_data(root: Path) -> dict:
    names = {0: '', 1: 'cat', 2: 'dog'}
    (root / 'ImageSets/Segmentation').mkdir(parents=True)
    (root / 'Annotations').mkdir()
    (root / 'classes.txt').write_text('cat\ndog\nunicorn\n')
    (root / 'ImageSets/Segmentation/train.txt').write_text('\n'.join(LABELS) + '\n')
    for i, (name, label) in enumerate(LABELS.items()):
        save_image(root / f'JPEGImages/{name}.jpg', i, SIZE)
        save_label_map(root / f'SegmentationClass/{name}.png', truth_of(label))
        found = f'<object><name>{names[label]}</name></object>' if label else ''
        xml = f'<annotation>{found}</annotation>'
        (root / f'Annotations/{name}.xml').write_text(xml)
    return dict(
        type=VOC12,
        data_root=str(root),
        split='train',
        label_maps='SegmentationClass',
        test_mode=True,
    )


def record(work: Path, name: str, inputs=(), metrics=None, provenance=None) -> None:
    StageRecord(
        stage=name,
        kind='MadeUpStage',
        fingerprint=f'mark_of_{name}',
        inputs={source: f'mark_of_{source}' for source in inputs},
        seed=7,
        done=True,
        metrics=metrics or {},
        provenance=provenance or {},
        seconds=1.5,
        finished='2026-01-02T03:04:05',
        environment=dict(
            versions=dict(torch='2.9'), commit='abc123', device='CPU (abacus)'
        ),
    ).save(work / name)


def make_seeds(work: Path, stage: str, strength: float) -> None:
    """Maps that are right to ``strength`` and noise for the rest."""
    noise = np.random.default_rng(0).random(SIZE)
    for name, label in LABELS.items():
        scores = strength * (truth_of(label) == label) + (1 - strength) * noise
        seed = Seed(
            torch.tensor(scores[None], dtype=torch.float32), torch.tensor([label - 1])
        )
        if label == 0:
            seed = Seed(torch.zeros(0, *SIZE), torch.zeros(0, dtype=torch.int64))
        seed.save(seed_path(work / stage, name))


def evaluate(work: Path, stage: EvaluateSeedStage | EvaluateLabelStage) -> dict:
    metrics = stage.run(work / stage.name, {stage.source: work / stage.source})
    record(work, stage.name, stage.inputs, metrics, stage.provenance())
    return metrics


@pytest.fixture(scope='module')
def experiment(tmp_path_factory) -> tuple[Path, dict]:
    """A work dir of two heads, pseudo labels of the worse, and predictions."""
    root = tmp_path_factory.mktemp('report')
    data, work = make_data(root / 'data'), root / 'work'
    record(
        work,
        'classifier',
        (),
        {'multilabel/mAP': 91.234},
        dict(epochs=8, rubber='duck'),
    )
    for stage, head, strength in (('cam', 'CAM', 0.9), ('roll', 'Rollout', 0.4)):
        make_seeds(work, stage, strength)
        record(
            work,
            stage,
            ['classifier'],
            {},
            dict(head=head, scales=[0.5, 1.0], flip=True),
        )
        evaluate(work, EvaluateSeedStage(f'eval_{stage}', stage, data))
    for stage, right in (('pseudo', 5), ('predict', 3)):
        for i, (name, label) in enumerate(LABELS.items()):
            made = truth_of(label).copy()
            made[made == 255] = 0
            made[:, : 4 + 2 * (i - right) ** 2] = 0
            save_label_map(label_path(work / stage, name), made)
    source = dict(
        refiners=['DenseCRF'], threshold='the best on ground truth (eval_roll)'
    )
    record(work, 'pseudo', ['roll', 'eval_roll'], dict(threshold=0.37), source)
    evaluate(work, EvaluateLabelStage('eval_pseudo', 'pseudo', data))
    record(work, 'segmentor', ['pseudo'], {'mIoU': 33.3})
    record(work, 'predict', ['segmentor'], {}, dict(labels='none', refiners=[]))
    evaluate(work, EvaluateLabelStage('eval_predict', 'predict', data))
    record(work, 'stale', ['classifier'], dict(miou=99.9))
    return work, data


def make_report(work: Path, data: dict, **kwargs) -> str:
    given = dict(
        seeds=['eval_cam', 'eval_roll'],
        labels='eval_pseudo',
        predictions='eval_predict',
        gallery=6,
    )
    stage = ReportStage('report', TITLE, data, **(given | kwargs))
    stage.run(work / 'report', {name: work / name for name in stage.inputs})
    return (work / 'report/report.html').read_text('utf-8')


@pytest.fixture(scope='module')
def html(experiment) -> str:
    return make_report(*experiment, notes='From scratch <1>.\n\nSecond.')


class Checker(HTMLParser):
    """Collects what is unbalanced, from outside, or without a description."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, name: str, attrs: list) -> None:
        given = dict(attrs)
        if name not in ('meta', 'img', 'wbr'):
            self.open.append(name)
        if name in ('script', 'link', 'iframe', 'object', 'base'):
            self.faults.append(name)
        if name == 'img' and not (
            given['alt'] and given['src'].startswith('data:image/')
        ):
            self.faults.append(f'img {given["alt"]}')
        if len(given) < len(attrs):
            self.faults.append(f'double attribute of {name}')
        for key in set(given) & {'href', 'srcset', 'action', 'data', 'poster'}:
            self.faults.append(f'{key}={given[key]}')

    def handle_endtag(self, name: str) -> None:
        if not self.open or self.open.pop() != name:
            self.faults.append(f'/{name} in {self.open}')

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def texts(html: str) -> str:
    checker = Checker()
    checker.feed(html)
    return ' '.join(''.join(checker.text).split())


def test_the_page_is_sound_and_needs_nothing_else(html: str) -> None:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.faults == [] and checker.open == []
    addresses = set(re.findall(r'https?://[^"\s]+', html))
    assert addresses <= {'http://www.w3.org/2000/svg'}
    assert '@import' not in html and 'url(' not in html
    assert 'name="viewport"' in html and '@media print' in html
    assert '$' not in html, 'a placeholder of the template is left'
    assert len(html) < 1_000_000


def test_the_checker_itself() -> None:
    checker = Checker()
    checker.feed('<p><b></p><script></script><img alt="" src="x.png"><a href="x"></a>')
    assert len(checker.faults) == 4


def test_numbers_of_the_records_appear(experiment, html: str) -> None:
    work, _ = experiment
    text = texts(html)
    for name, keys in {
        'eval_cam': ('best_miou', 'fp_rate', 'fn_rate'),
        'eval_roll': ('best_miou', 'fp_rate', 'fn_rate'),
        'eval_pseudo': ('miou', 'fp_rate', 'fn_rate'),
        'eval_predict': ('miou', 'fp_rate', 'fn_rate'),
    }.items():
        metrics = StageRecord.load(work / name).metrics
        row = re.search(
            rf'<tr>(?:(?!<tr).)*?</tr><tr class="below">(?:(?!<tr).)*{name}', html
        )
        assert row is not None
        for key in keys:
            assert f'{metrics[key]:.1f}' in row[0]
    assert '91.2' in text and '33.3' in text
    assert 'abc123' in text and 'CPU (abacus)' in text and 'mark_of_roll' in text
    assert '15.0 s' in text, 'ten stages of 1.5 s'
    assert '99.9' not in text and 'stale' not in text


def test_how_each_number_was_made(html: str) -> None:
    text = texts(html)
    assert 'maps of CAM; scales 0.5, 1; with mirrored images' in text
    assert 'the best on these ground-truth masks: an upper bound' in text
    assert (
        'refiners: DenseCRF; threshold the best on ground truth (eval_roll); at 0.37'
        in text
    )
    assert '8 epochs; rubber: duck' in text
    assert 'labels used: none' in text


def test_text_is_escaped(html: str) -> None:
    assert html.count('Cats &lt;b&gt; &amp; &quot;dogs&quot;') == 2  # title and heading
    assert 'Cats <b>' not in html
    assert '<p>From scratch &lt;1&gt;.</p><p>Second.</p>' in html


def test_the_best_head_is_marked_and_the_chosen_one_shown(
    experiment, html: str
) -> None:
    results = Results(experiment[0], ['eval_cam', 'eval_roll'], 'eval_pseudo', None)
    assert results.best_seeds == 'eval_cam'
    assert results.chosen_seeds == 'eval_roll', 'the pseudo labels are made of it'
    assert re.search(r'CAM seeds <span class="badge">', html)
    assert html.count('class="badge"') == 1
    assert list(results.records) == [
        'classifier', 'cam', 'eval_cam', 'roll', 'eval_roll', 'pseudo', 'eval_pseudo',
    ]  # fmt: skip


def test_gallery_shows_every_image_even_without_a_class(html: str) -> None:
    gallery = html[html.index('id="gallery0"') : html.index('id="extremes"')]
    for name in LABELS:
        assert f'alt="photo {name}"' in gallery
    assert 'alt="heat map of Rollout: cat in a"' in gallery
    assert 'alt="heat map of CAM: dog in b"' in gallery
    assert 'in none"' not in gallery, 'no class, no heat map'
    assert 'alt="pseudo label of none: background"' in gallery


def test_worst_and_best_images(experiment, html: str) -> None:
    mious = load_json(experiment[0] / 'eval_pseudo/per_image.json')
    assert min(mious, key=mious.get) == 'a' and max(mious, key=mious.get) == 'none'
    part = html[html.index('Worst pseudo labels') : html.index('Worst predictions')]
    order = re.findall(r'alt="photo (\w+)"', part)
    assert order == ['a', 'b', 'c', 'e', 'd'], (
        'worst first, then best first, none left out'
    )


def test_class_without_a_value_has_no_bar(experiment, html: str) -> None:
    scores = load_json(experiment[0] / 'eval_pseudo/scores.json')
    assert scores['iou'][scores['classes'].index('unicorn')] is None
    chart = html[html.index('id="classes"') : html.index('id="gallery0"')]
    assert 'unicorn' not in chart and '>cat<' in chart and '>dog<' in chart


def test_predictions_of_another_split_have_a_gallery_of_their_own(
    experiment, tmp_path
) -> None:
    work, data = experiment
    page = make_report(work, data, prediction_dataset=dict(data, indices=3), gallery=2)
    first = page[page.index('id="gallery0"') : page.index('id="gallery1"')]
    second = page[page.index('id="gallery1"') : page.index('id="extremes"')]
    assert 'pseudo label' in first and 'prediction of' not in first
    assert 'prediction of' in second and 'pseudo label of' not in second
    assert re.findall(r'alt="photo (\w+)"', second) == ['a', 'c'], 'evenly spaced'


def test_seeds_alone_make_a_page(experiment) -> None:
    work, data = experiment
    page = make_report(work, data, labels=None, predictions=None)
    assert 'id="curves"' in page and 'id="extremes"' not in page
    assert 'mark_of_pseudo' not in page


def test_equal_heads_are_told_apart_by_their_stages(experiment, tmp_path) -> None:
    for name in ('cam', 'twin'):
        record(tmp_path, name, (), {}, dict(head='CAM'))
        record(tmp_path, f'eval_{name}', [name], dict(best_miou=1.0))
    results = Results(tmp_path, ['eval_cam', 'eval_twin'], None, None)
    assert results.head('eval_twin') == 'CAM (twin)'


def test_mistakes_are_one_line(experiment, tmp_path) -> None:
    work, data = experiment
    with pytest.raises(ConfigError, match='shows nothing'):
        ReportStage('report', TITLE, data)
    with pytest.raises(DataError, match="run the stage 'eval_none' first"):
        make_report(work, data, labels='eval_none')
    with pytest.raises(ConfigError, match="an EvaluateSeedStage, but 'eval_pseudo'"):
        make_report(work, data, seeds=['eval_pseudo'], labels=None)
    assert not list((work / 'report').glob('*.part*'))


def test_a_null_metric_is_a_dash(experiment, tmp_path) -> None:
    record(tmp_path, 'labels')
    record(tmp_path, 'eval', ['labels'], dict(miou=None))
    save_json(tmp_path / 'eval/scores.json', dict(classes=['background'], iou=[None]))
    rows = Results(tmp_path, (), 'eval', None).rows()
    assert [(row.what, row.score) for row in rows] == [('pseudo labels', None)]


def carded(experiment: tuple[Path, dict], folder: Path) -> Path:
    """A copy of the work dir whose measuring stages have cards."""
    work = folder / 'work'
    shutil.copytree(experiment[0], work)
    train = SupervisionCard(
        split=Split('VOC12', 'train', 6, 'aaaaaa', masks='m'),
        labels=Tags.TRUE(),
        scales=(1.0,),
        flip=True,
        seeds=(7,),
        methods=(Method('cam', 'CAM <1>'),),
    )
    val = replace(train, split=Split('VOC12', 'val', 3, 'bbbbbb', masks='n'))
    for name, card in dict(
        eval_cam=train, eval_roll=train, eval_pseudo=train, eval_predict=val
    ).items():
        made = StageRecord.load(work / name)
        assert made is not None
        made.card = card_to_json(card)
        made.save(work / name)
    return work


def test_every_number_says_how_it_was_made(experiment, tmp_path) -> None:
    page = make_report(carded(experiment, tmp_path), experiment[1])
    checker = Checker()
    checker.feed(page)
    assert checker.faults == [] and checker.open == []
    short = 'VOC12 train 6 · true tags · flip · 1 seed'
    assert page.count(f'<summary>{short}</summary>') == 3
    assert page.count('<p class="made">no card</p>') == 2, 'classifier and segmentor'
    assert '<dt>methods of cam</dt><dd>CAM &lt;1&gt;</dd>' in page
    assert '<dt>their masks</dt><dd>checksum m</dd>' in page
    assert f'title="{short}"' in page, 'on the large number'
    assert 'What the lines below the numbers mean' in page
    assert '<dt>true tags</dt>' in page


def test_unlike_numbers_are_marked(experiment, tmp_path) -> None:
    page = make_report(carded(experiment, tmp_path), experiment[1])
    marked = re.findall(r'<th scope="row">(?:(?!</th>).)*?<sup>(.)</sup>', page)
    assert marked == ['‡', '‡', '†'], 'two without a card, and the predictions'
    text = texts(page)
    assert '† images: VOC12 val 3 [bbbbbb], not VOC12 train 6 [aaaaaa]' in text
    assert '‡ no card: it is not recorded how this number was made' in text


def test_old_records_make_a_page_without_marks(html: str) -> None:
    assert '<sup>' not in html and 'What the lines below' not in html
    assert html.count('<p class="made">no card</p>') == 6
