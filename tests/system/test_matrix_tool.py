"""tools/run_matrix.py on a tiny matrix in which one cell cannot be and one fails."""

from __future__ import annotations

import csv
import runpy
import statistics
import sys
from pathlib import Path

import pytest
import tiny

from wsss_plugins.engine import StageRecord

pytestmark = pytest.mark.slow
TRAINING = tiny.ROOT / 'configs/psa/synthetic.py'
HEADS = '''
from pathlib import Path

from wsss_plugins.seeds import CAM


class Picky(CAM):
    """Fails on three images at once, so in no trial, until it is mended."""

    def class_maps(self, model, trace, labels):
        if len(labels) > 2 and not Path(__file__).with_name('mended').exists():
            raise RuntimeError('on purpose')
        return super().class_maps(model, trace, labels)
'''
CONFIG = '''
"""A tiny matrix."""

from matrix_heads import Picky
from mmengine.config import read_base

from wsss_plugins.backbones import ExViT
from wsss_plugins.datasets import VOC12
from wsss_plugins.refiners import PAMR, ConstantBackground
from wsss_plugins.seeds import CAM, AttentionRollout

images = dict(type=VOC12, data_root='nowhere', split='val')
background = dict(type=ConstantBackground)
small = {small!r}
matrix = dict(
    classifiers=dict(
        vit=dict(config={training!r}, options=small),
        exvit=dict(
            config={training!r},
            options={{
                **small,
                'model.backbone.type': ExViT,
                'model.backbone.fuse_blocks': 1,
                'model.backbone.scale': 'tokens',
            }},
        ),
    ),
    heads=dict(
        cam=dict(type=CAM), rollout=dict(type=AttentionRollout), picky=dict(type=Picky)
    ),
    refiners=dict(none=[background], pamr=[background, dict(type=PAMR, iterations=2)]),
    seeds=[0, 1],
    images=images,
    masks=dict(images, label_maps='SegmentationClass', test_mode=True),
    maps=dict(batch_size=4),
    refine=dict(threshold='otsu', workers=1),
)
'''


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Path:
    """A folder with the config and its head."""
    folder = tmp_path_factory.mktemp('matrix')
    small = tiny.small_options(TRAINING)
    text = CONFIG.format(small=small, training=str(TRAINING))
    (folder / 'mine.py').write_text(text.lstrip())
    (folder / 'matrix_heads.py').write_text(HEADS)
    return folder


@pytest.fixture
def tool(place, data_root, monkeypatch):
    """Runs the tool in this process on the tiny matrix; its exit code."""
    monkeypatch.syspath_prepend(str(place))

    def run(*arguments: object) -> object:
        words = [place / 'mine.py', '--data-root', data_root]
        words += ['--work-dir', place / 'work', *arguments]
        monkeypatch.setattr(sys, 'argv', ['run_matrix.py', *map(str, words)])
        try:
            runpy.run_path(str(tiny.TOOLS / 'run_matrix.py'), run_name='__main__')
        except SystemExit as left:
            return left.code
        return 0

    return run


def files(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob('*') if p.is_file()}


def rows(place: Path, name: str = 'work/table.csv') -> dict[tuple[str, str, str], dict]:
    content = csv.DictReader((place / name).read_text('utf-8').splitlines())
    return {(r['classifier'], r['head'], r['column']): r for r in content}


def test_the_road_of_a_matrix(place, tool, capfd) -> None:
    """In one test, since each part reads what the last left."""
    show_the_plan(place, tool, capfd)
    run_with_a_failure(place, tool, capfd)
    check_numbers(place)
    mend_and_run_again(place, tool, capfd)
    tiny.assert_cards_as_before(place / 'work/seed_1', 'matrix')
    take_a_part(place, tool, capfd)


def show_the_plan(place, tool, capfd) -> None:
    assert tool('--dry-run') == 0
    said = capfd.readouterr().out
    assert not (place / 'work').exists(), 'a dry run writes nothing'
    assert '- exvit, rollout: the attention of ExViT is negative' in said
    assert 'seed 1: 32 of 32 stages to run, with the training of vit, exvit' in said


def run_with_a_failure(place, tool, capfd) -> None:
    assert tool() == 2, 'one head fails'
    out, err = capfd.readouterr()
    assert err.splitlines()[-1].startswith(
        'error: 4 stages failed, first seed 0, vit__picky: RuntimeError: on purpose ('
    )
    assert 'Traceback' not in out + err
    trace = place / 'work/seed_0/.errors/vit__picky.txt'
    assert 'in class_maps' in trace.read_text() and str(trace) in err
    assert 'seed 0, stage 1 of 32: vit\n' in err and 'seed 1: done in ' in err


def check_numbers(place) -> None:
    found = rows(place)
    assert len(found) == 2 * 3 * 3
    assert found['exvit', 'rollout', 'none']['absent'].startswith(
        'the attention of ExV'
    )
    assert found['vit', 'picky', 'pamr']['absent'].startswith(
        'seed 0: RuntimeError: on'
    )
    for (classifier, head, column), row in found.items():
        if head == 'picky' or (classifier, head) == ('exvit', 'rollout'):
            assert row['miou'] == row['card'] == '' and row['runs'] == '0'
            continue
        values = []
        for seed in (0, 1):
            end, metric = (
                ('', 'best_miou') if column == 'best_threshold' else ('__score', 'miou')
            )
            stage = f'{classifier}__{head}__{column}{end}'
            values.append(
                StageRecord.load(place / f'work/seed_{seed}/{stage}').metrics[metric]
            )
        assert float(row['miou']) == pytest.approx(statistics.mean(values))
        assert float(row['spread']) == pytest.approx(statistics.stdev(values))
        source = 'these masks' if column == 'best_threshold' else 'otsu'
        assert f' · thr: {source} · true tags · flip · 2 seeds' in row['card']
    assert found['vit', 'cam', 'none']['each'] != found['exvit', 'cam', 'none']['each']


def mend_and_run_again(place, tool, capfd) -> None:
    trace = place / 'work/seed_0/.errors/vit__picky.txt'
    assert trace.exists()
    before = files(place / 'work')
    (place / 'mended').touch()
    assert tool() == 0
    after = files(place / 'work')
    changed = {
        p.relative_to(place / 'work') for p, t in after.items() if before.get(p) != t
    }
    stages = {p.parts[1] for p in changed if len(p.parts) > 2} - {'.data'}
    assert stages and all('picky' in stage for stage in stages), 'only what was missing'
    assert not trace.exists()
    found = rows(place)
    for column in ('best_threshold', 'none', 'pamr'):
        one, other = (found['vit', head, column] for head in ('picky', 'cam'))
        assert one['each'] == other['each'] != '', 'mended, it is the plain CAM'
    capfd.readouterr()
    assert tool() == 0
    said = capfd.readouterr()
    assert 'stage' not in said.err, 'nothing is left to do'
    text = (place / 'work/table.md').read_text('utf-8')
    assert text.strip() in said.out and 'Without a number' in text
    assert (place / 'work/table.html').is_file()


def take_a_part(place, tool, capfd) -> None:
    untouched = files(place / 'work')
    out_name = place / 'part.md'
    assert (
        tool('--no-run', '--heads', 'cam', '--seeds', '1', '2', '--out', out_name) == 0
    )
    assert files(place / 'work') == untouched
    part = rows(place, 'part.csv')
    assert len(part) == 2 * 3 and part['vit', 'cam', 'none']['seeds'] == '1'
    assert '(1 of 2)' in out_name.read_text('utf-8')
    assert tool('--dry-run', '--heads', 'picky', '--seeds', '1') == 0
    assert 'seed 1: 0 of 14 stages to run\n' in capfd.readouterr().out


def test_mistakes_are_one_line(place, data_root, refused, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(place))
    config = place / 'mine.py'
    common = ('--data-root', data_root, '--work-dir', place / 'other')

    def say(*arguments: object, config: Path = config) -> str:
        return refused('run_matrix.py', config, *common, *arguments)

    assert "--heads: the matrix has no 'camm': did you mean 'cam'?" in say(
        '--heads', 'camm'
    )
    assert "--refiners: 'none' comes twice" in say('--refiners', 'none', 'none')
    assert 'give --seeds' in say('--seed', 1)
    assert 'is a folder: name a file in it' in say('--out', place)
    assert "has no dict 'matrix'" in say(config=tiny.CONFIG)
    wrong = say('--cfg-options', 'matrix.heads.cam.floor=high')
    assert '--cfg-options matrix.heads.cam.floor' in wrong
    assert 'does not exist' in say('--cfg-options', 'matrix.classifiers.vit=nowhere.py')
    assert 'vall.txt does not exist' in say('--cfg-options', 'matrix.images.split=vall')
    unlike = f'matrix.classifiers.vit={dict(config=str(TRAINING), options={"pretrained": {"backbone": "x.pth"}})}'
    assert "first 'exvit' (compared with 'vit')" in say('--cfg-options', unlike)
    assert not (place / 'other').exists()
    (place / 'other').touch()
    assert 'is a file: name a folder' in say()
