"""A work dir that commit d557e48 made: it loads, nothing runs again, its cards say so."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config
from processes import run_script

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.config import load_config
from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.engine import StageRecord
from wsss_plugins.engine.code_digests import CodeDigests
from wsss_plugins.experiment import Pipeline
from wsss_plugins.experiment.testing import predict_images
from wsss_plugins.stages import load_trained
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import Code, CodeState

ROOT = Path(__file__).parents[2]
EARLIER = ROOT / 'tests/earlier_version'
WITH_CARD = {'record.json', 'scores.json', 'table.md', 'table.csv', 'classes.csv'}


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    """The images, made as they were then."""
    folder = tmp_path_factory.mktemp('earlier')
    spec = SyntheticSpec(size=(32, 40))
    write_devkit(folder / 'data', spec, train=6, val=4, workers=1)
    return folder / 'data'


@pytest.fixture
def work(tmp_path, data, monkeypatch) -> Path:
    """The work dir, in a folder where the data lie as they did."""
    monkeypatch.chdir(tmp_path)
    Path('data').symlink_to(data)
    with zipfile.ZipFile(EARLIER / 'work.zip') as file:
        file.extractall('work')
    return Path('work')


def pipeline(**more) -> Pipeline:
    return Pipeline(load_config(EARLIER / 'pipeline.py'), **more)


def files(work: Path) -> dict[str, tuple[int, bytes]]:
    """When each file was last written, and what it holds."""
    return {
        str(path.relative_to(work)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(work.rglob('*'))
        if path.is_file()
    }


def test_every_stage_is_done_and_nothing_runs(work, monkeypatch) -> None:
    before = files(work)
    found = pipeline().examine(work)
    assert len(found) == 18 and {f.state for f in found.values()} == {'done'}
    assert files(work) == before, 'to look changes nothing'

    known = {name: StageRecord.load(work / name) for name in found}
    assert all(r is not None and r.code is None for r in known.values())
    monkeypatch.setattr(
        'wsss_plugins.experiment.pipeline.run_with_card', None
    )  # nothing runs
    records = pipeline().run(work)
    assert {n: r.metrics for n, r in records.items()} == {
        n: r.metrics for n, r in known.items() if r
    }
    after = files(work)
    changed = {name for name in after if after[name] != before.get(name)}
    copies = {f'{name}/config.json' for name in found}
    assert copies <= changed and before.keys() <= after.keys()
    noted = {name for name in changed if name.startswith('.data/')}
    assert len(noted) == 4, 'photos and masks of two splits'
    others = changed - copies - noted - {'experiment.json'}
    others = {Path(name).name for name in others}
    assert others <= WITH_CARD, 'cards alone are brought up to date'

    pipeline().run(work)
    again = files(work)
    again.pop('experiment.json'), after.pop('experiment.json')  # written by each run
    assert again == after, 'once is enough'


def test_the_cards_say_that_the_code_is_not_known(work) -> None:
    pipeline().run(work)
    card = StageRecord.load(work / 'prediction_score').supervision
    road = ('classifier', 'cam', 'cam_score', 'confident', 'affinity', 'pseudo')
    ends = ('segmentor', 'prediction', 'prediction_score')
    assert set(card.code) == {Code(s, CodeState.UNRECORDED) for s in (*road, *ends)}
    scores = load_json(work / 'cam_score/scores.json')['card']['code']
    assert dict(stage='cam', state='unrecorded') in scores


def test_a_stage_is_done_again_on_results_that_stay(work) -> None:
    before = files(work)
    report = work / 'report/report.html'
    first = report.stat().st_mtime_ns
    found = pipeline(redo=['report', 'pseudo_score']).examine(work)
    redone = {name for name, f in found.items() if f.state != 'done'}
    assert redone == {'pseudo_score', 'report'}
    records = pipeline(redo=['report', 'pseudo_score']).run(work)
    assert report.stat().st_mtime_ns != first
    assert records['report'].redone == 1
    assert not any('edited' in said for said in records['report'].code.values())
    metrics = StageRecord.load(work / '.previous' / aside(work, 'pseudo_score')).metrics
    assert metrics.items() <= records['pseudo_score'].metrics.items()
    for name in ('pseudo/labels/train_000000.png', 'segmentor/weights.safetensors'):
        assert files(work)[name] == before[name]


def aside(work: Path, stage: str) -> str:
    (folder,) = (work / '.previous').glob(f'{stage}-*')
    return folder.name


def test_an_edited_config_is_noticed_and_comes_back(work) -> None:
    cfg = load_config(EARLIER / 'pipeline.py', {'pipeline.2.thresholds': [0.1, 0.2]})
    found = Pipeline(cfg).examine(work)
    changed = {name for name, f in found.items() if f.state == 'changed'}
    assert {'cam_score', 'pseudo', 'report'} < changed
    assert changed.isdisjoint({'classifier', 'cam', 'confident', 'affinity', 'sweep'})
    assert found['cam_score'].why == (
        'config or data (the version that ran it kept no copy of them)',
    )
    Pipeline(cfg).run(work, stop='cam_score')
    assert pipeline().examine(work)['cam_score'].state == 'changed'
    before = files(work)
    pipeline().run(work, stop='cam_score')
    assert pipeline().examine(work)['prediction_score'].state == 'done'
    assert files(work)['cam_score/scores.json'] != before['cam_score/scores.json']


def test_its_models_and_tables_are_read(work) -> None:
    assert load_trained(work / 'classifier', WSSSClassifier).num_classes == 6

    def said(tool: str, *words: object) -> str:
        done = run_script([ROOT / 'tools' / tool, *words], Path.cwd())
        assert done.returncode == 0, done.stderr
        return done.stdout

    table = said('table.py', work / 'pseudo_score', work / 'cam_score', '--mix')
    metrics = StageRecord.load(work / 'pseudo_score').metrics
    assert f'{metrics["miou"]:.1f}' in table
    photo = 'data/VOC2012/JPEGImages/val_000000.jpg'
    said('explain.py', photo, '--model', work / 'classifier', '--out', 'shown')
    assert any(Path('shown').rglob('*.png')) or Path('shown').is_file()
    plan = said(
        'run_pipeline.py', EARLIER / 'pipeline.py', '--work-dir', work, '--dry-run'
    )
    assert plan.count('done') == 18 and 'changed' not in plan


def test_predictions_of_a_checkpoint_follow_from_the_code(work, monkeypatch) -> None:
    training = load_config(EARLIER / 'pipeline.py').to_dict()['segmentor']
    images = dict(type='VOC12', data_root='data/VOC2012', split='val', test_mode=True)
    weights = work / 'segmentor/weights.safetensors'

    def predicted() -> str:
        return predict_images(Config(training), weights, images, Path('out')).name

    assert predicted() == '26f4353172e2ef87', 'where commit 7f26dd8 puts them'
    edited = {'my_heads:Head': 'another'}
    monkeypatch.setattr(CodeDigests, '__call__', lambda *_: edited)
    assert predicted() != '26f4353172e2ef87'
