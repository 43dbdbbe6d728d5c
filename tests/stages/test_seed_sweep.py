"""A sweep is what one would measure value by value, and is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trees import make_voc

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, STAGES, build_as
from wsss_plugins.stages import EvaluateSeedStage, SeedStage, SeedSweepStage
from wsss_plugins.structures import load_json

MODEL = dict(
    type='WSSSClassifier',
    backbone=dict(type='TimmViT', img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2),
    head=dict(type='TokenHead', num_classes=20),
)  # fmt: skip
BLOCKS = [0, 2, 1]
HEAD = dict(type='ACRGradientMap', affinity=False)
MAPS = dict(scales=(1.0, 2.0), batch_size=2, input_size=(32, 48))


@pytest.fixture
def dataset(tmp_path: Path) -> dict:
    objects = {'a': ['aeroplane'], 'b': ['bicycle'], 'c': ['bicycle', 'aeroplane']}
    root = make_voc(tmp_path / 'data', objects)
    masks = dict(label_maps='SegmentationClass', test_mode=True)
    return dict(type='VOC12', data_root=str(root), split='train', **masks)


@pytest.fixture(autouse=True)
def model(monkeypatch) -> WSSSClassifier:
    """What every stage takes for the trained classifier."""
    torch.manual_seed(0)
    model = build_as(MODELS, MODEL, WSSSClassifier).eval()
    for stage in ('seed', 'seed_sweep'):
        monkeypatch.setattr(
            f'wsss_plugins.stages.{stage}.load_trained', lambda *_: model
        )
    return model


def sweep(dataset: dict, values: list = BLOCKS, **changes: object) -> SeedSweepStage:
    cfg = dict(type='SeedSweepStage', name='sweep', model='m', head=HEAD,
               argument='start_block', values=values, dataset=dataset, **MAPS)  # fmt: skip
    return build_as(STAGES, cfg | changes, SeedSweepStage)


def run(stage: SeedSweepStage, folder: Path) -> dict:
    return stage.run(folder / stage.name, {'m': folder / 'm'})


def test_equals_the_stages_it_stands_for(dataset, tmp_path) -> None:
    metrics = run(sweep(dataset), tmp_path)
    found = load_json(tmp_path / 'sweep/scores.json')
    assert (found['argument'], found['values']) == ('start_block', BLOCKS)
    best = {}
    for value, scores in zip(BLOCKS, found['scores'], strict=True):
        head = dict(HEAD, start_block=value)
        seeds = SeedStage('seeds', 'm', head, dataset, **MAPS)
        seeds.run(tmp_path / f'seeds{value}', {'m': tmp_path / 'm'})
        score = EvaluateSeedStage('score', 'seeds', dataset)  # the same default
        score.run(tmp_path / f'score{value}', {'seeds': tmp_path / f'seeds{value}'})
        expected = load_json(tmp_path / f'score{value}/scores.json')
        for key in ('best_threshold', 'miou', 'best'):
            assert scores[key] == expected[key]
        best[value] = expected['best_miou']
    assert len(set(best.values())) > 1, 'the argument matters'
    top = max(best, key=best.__getitem__)
    assert metrics == dict(
        images=3, classes=21, best_miou=round(best[top], 3), best_start_block=top
    )


def test_table_and_picture(dataset, tmp_path) -> None:
    run(sweep(dataset), tmp_path)
    scores = load_json(tmp_path / 'sweep/scores.json')['scores']
    head, _, *rows = (tmp_path / 'sweep/table.md').read_text().splitlines()
    assert head == '| start_block | mIoU | FP | FN | threshold |'
    for value, each, row in zip(BLOCKS, scores, rows, strict=True):
        cells = [cell.strip() for cell in row.strip('|').split('|')]
        best = each['best']
        numbers = [best['miou'], best['mean_false_positive_rate'],
                   best['mean_false_negative_rate'], each['best_threshold']]  # fmt: skip
        assert cells == [str(value), *(f'{n:.2f}' for n in numbers)]
    with Image.open(tmp_path / 'sweep/figure.png') as picture:
        assert picture.size == (1350, 510)
        red = np.asarray(picture.convert('RGB')).astype(int) - (0xC0, 0x39, 0x2B)
    assert (abs(red).max(-1) < 8).sum() > 100, 'false positives are drawn'
    assert {p.name for p in (tmp_path / 'sweep').iterdir()} == {
        'values', 'scores.json', 'table.md', 'figure.png',
    }  # fmt: skip


def test_goes_on_where_it_was_killed(dataset, tmp_path, monkeypatch) -> None:
    expected = run(sweep(dataset), tmp_path)
    kept = [tmp_path / f'sweep/values/00{i}.json' for i in range(3)]
    scores = (tmp_path / 'sweep/scores.json').read_text()
    kept[1].unlink()
    (tmp_path / 'sweep/scores.json').unlink()
    times = [kept[i].stat().st_mtime_ns for i in (0, 2)]
    again = sweep(dataset)
    made = [m for i, m in enumerate(again.makers) if i != 1]
    for maker in made:
        monkeypatch.setattr(maker, 'seeds_of', None)  # must not be asked
    assert run(again, tmp_path) == expected
    assert [kept[i].stat().st_mtime_ns for i in (0, 2)] == times
    assert (tmp_path / 'sweep/scores.json').read_text() == scores


def test_two_workers_share_the_values(dataset, tmp_path, monkeypatch) -> None:
    expected = run(sweep(dataset), tmp_path / 'one')
    module = 'wsss_plugins.stages.seed_sweep.'
    for rank in (
        1,
        0,
    ):  # the other one first, since they cannot wait for each other here
        monkeypatch.setattr(f'{module}share_of', lambda items, r=rank: items[r::2])
        monkeypatch.setattr(f'{module}rank', lambda r=rank: r)
        if rank == 1:
            with pytest.raises(Exception, match=r'000\.json does not exist'):
                run(sweep(dataset), tmp_path / 'two')
            made = sorted(p.name for p in (tmp_path / 'two/sweep/values').iterdir())
            assert made == ['001.json']
        else:
            assert run(sweep(dataset), tmp_path / 'two') == expected
    one, two = (tmp_path / part / 'sweep/scores.json' for part in ('one', 'two'))
    assert one.read_text() == two.read_text()


def test_values_that_are_no_numbers(dataset, tmp_path) -> None:
    cam = dict(head=dict(type='CAM'), argument='floor')
    metrics = run(sweep(dataset, ['zero', 'minimum'], **cam), tmp_path)
    assert metrics['best_floor'] in ('zero', 'minimum')
    with pytest.raises(ConfigError, match='floor of CAM must be str'):
        sweep(dataset, ['zero', None], **cam)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(values=[]), "needs values of 'start_block' that differ, not \\[\\]"),
        (dict(values=[1, 1]), 'that differ'),
        (dict(argument='start_blok'), "takes no argument 'start_blok': did you mean"),
        (dict(scale=(1,)), "SeedStage takes no argument 'scale'"),
        (dict(convention='voc'), "unknown convention 'voc'"),
    ],
)
def test_mistakes(dataset, changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(dataset, **changes)
