"""Fingerprints, states and what a pipeline refuses; with stages that write one number."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from trees import make_voc

from wsss_plugins.engine import Stage, StageRecord
from wsss_plugins.engine.fingerprint import fingerprint
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.registry import STAGES
from wsss_plugins.structures import PART_FILES, load_json, save_json

RUNS: list[str] = []


class Number(Stage):
    """Adds ``value`` to the sum of its inputs."""

    def __init__(
        self, name: str, value: float = 0, reads: tuple[str, ...] = (), data: Any = None
    ) -> None:
        super().__init__(name)
        self.value = value
        self.inputs = tuple(reads)

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        RUNS.append(self.name)
        if self.value == 'fail':
            raise UserError('on purpose')
        total = self.value + sum(load_json(f / 'n.json') for f in inputs.values())
        save_json(out / 'n.json', total)
        return dict(total=total, seed=self.seed)


@pytest.fixture(autouse=True)
def registered():
    RUNS.clear()
    STAGES.register_module(name='Number', module=Number)
    yield
    STAGES.module_dict.pop('Number')


def make(
    tmp_path: Path, seed: int = 0, file: str = 'mine.py', **changes: Any
) -> Pipeline:
    """a -> b -> d and a -> c; ``changes`` give stages another value."""
    stages = [
        dict(type='Number', name='a', value=1),
        dict(type='Number', name='b', value=10, reads=('a',)),
        dict(type='Number', name='c', value=100, reads=('a',)),
        dict(type='Number', name='d', value=1000, reads=('b',)),
    ]
    for stage in stages:
        if stage['name'] in changes:
            stage['value'] = changes[stage['name']]
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    content = dict(pipeline=stages, seed=seed, experiment=changes.get('experiment'))
    return Pipeline(Config(content, filename=str(path)))


def states(pipeline: Pipeline, work_dir: Path) -> dict[str, str]:
    return {s.stage.name: pipeline.state(s, work_dir) for s in pipeline.steps}


def test_runs_in_order_once(tmp_path) -> None:
    work_dir = tmp_path / 'work'
    records = make(tmp_path).run(work_dir)
    assert RUNS == ['a', 'b', 'c', 'd']
    totals = {name: r.metrics['total'] for name, r in records.items()}
    assert totals == dict(a=1, b=11, c=101, d=1011)
    assert records['d'].inputs == {'b': records['b'].fingerprint}
    make(tmp_path).run(work_dir)
    assert len(RUNS) == 4


def test_edit_reruns_descendants_and_undo_restores(tmp_path) -> None:
    work_dir = tmp_path / 'work'
    first = make(tmp_path).run(work_dir)
    edited = make(tmp_path, b=20)
    assert states(edited, work_dir) == dict(
        a='done', b='changed', c='done', d='changed'
    )
    RUNS.clear()
    assert edited.run(work_dir)['d'].metrics['total'] == 1021
    assert RUNS == ['b', 'd']
    RUNS.clear()
    assert make(tmp_path).run(work_dir) == first
    assert RUNS == []
    assert load_json(work_dir / 'd/n.json') == 1011


def test_a_stage_that_fails_keeps_the_earlier_ones_and_goes_on(tmp_path) -> None:
    work_dir = tmp_path / 'work'
    pipeline = make(tmp_path, c='fail')
    with pytest.raises(UserError, match='on purpose'):
        pipeline.run(work_dir)
    assert states(pipeline, work_dir) == dict(
        a='done', b='done', c='interrupted', d='new'
    )
    (work_dir / 'c/.n.1.part.json').touch()
    RUNS.clear()
    make(tmp_path).run(work_dir)
    assert RUNS == ['c', 'd']
    (aside,) = (work_dir / '.previous').glob(f'c-{pipeline.steps[2].fingerprint}*')
    interrupted = StageRecord.load(aside)
    assert interrupted is not None and not interrupted.done


def test_half_files_are_swept_when_a_stage_goes_on(tmp_path, monkeypatch) -> None:
    work_dir = tmp_path / 'work'
    monkeypatch.setattr(Number, 'run', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(tmp_path).run(work_dir)
    monkeypatch.undo()
    (work_dir / 'a/deep').mkdir()
    (work_dir / 'a/deep/.n.123.part.json').touch()
    make(tmp_path).run(work_dir, stop='a')
    assert not list(work_dir.rglob(PART_FILES))


def test_damaged_record_means_new(tmp_path) -> None:
    work_dir = tmp_path / 'work'
    make(tmp_path).run(work_dir)
    (work_dir / 'b/record.json').write_text('{"stage": ')
    assert states(make(tmp_path), work_dir)['b'] == 'new'


def test_fingerprint_follows_from_config_seed_and_inputs() -> None:
    base = fingerprint(dict(a=1, b=(2, 3)), 0, dict(x='1'))
    assert len(base) == 16 and int(base, 16) >= 0
    assert fingerprint(dict(b=[2, 3], a=1), 0, dict(x='1')) == base, (
        'order is no matter'
    )
    others = [
        fingerprint(dict(a=2, b=(2, 3)), 0, dict(x='1')),
        fingerprint(dict(a=1, b=(2, 3)), 1, dict(x='1')),
        fingerprint(dict(a=1, b=(2, 3)), 0, dict(x='2')),
        fingerprint(dict(a=1, b=(2, 3)), 0, dict()),
    ]
    assert len({base, *others}) == 5


def test_fingerprint_follows_from_the_data(tmp_path) -> None:
    """Another label or another image list changes it; pixels and pseudo labels do not."""
    root = make_voc(tmp_path / 'voc', dict(x=['cat'], y=['dog']))
    (tmp_path / 'mine.py').touch()

    def mark(**more: Any) -> str:
        data = dict(type='VOC12', data_root=str(root), split='train', **more)
        stage = dict(type='Number', name='a', data=data)
        cfg = Config(dict(pipeline=[stage]), filename=str(tmp_path / 'mine.py'))
        return Pipeline(cfg).steps[0].fingerprint

    base = mark()
    assert mark() == base
    annotation = root / 'Annotations/x.xml'
    before = annotation.read_text()
    annotation.write_text(before.replace('cat', 'cow'))
    assert mark() != base
    annotation.write_text(before)
    assert mark() == base
    (root / 'ImageSets/Segmentation/train.txt').write_text('x\n')
    assert mark() != base


def test_seed_reaches_the_stages_and_the_fingerprints(tmp_path) -> None:
    records = make(tmp_path, seed=5).run(tmp_path / 'work')
    assert records['a'].metrics['seed'] == 5
    zero, five = make(tmp_path).steps, make(tmp_path, seed=5).steps
    assert {s.fingerprint for s in zero}.isdisjoint({s.fingerprint for s in five})


def test_a_stage_without_random_numbers_is_that_of_every_seed(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(Number, 'depends_on_seed', property(lambda s: s.name != 'a'))
    make(tmp_path).run(tmp_path / 'zero')
    shutil.copytree(tmp_path / 'zero/a', tmp_path / 'five/a')
    RUNS.clear()
    records = make(tmp_path, seed=5).run(tmp_path / 'five')
    assert RUNS == ['b', 'c', 'd']
    assert [records[name].seed for name in 'ab'] == [0, 5]


def test_work_dir_of_another_experiment(tmp_path) -> None:
    work_dir = tmp_path / 'work'
    make(tmp_path).run(work_dir)
    with pytest.raises(UserError) as error:
        make(tmp_path, file='yours.py').run(work_dir)
    name = tmp_path.name
    assert str(error.value) == (
        f"work dir {work_dir} belongs to '{name}/mine', not '{name}/yours': "
        'choose another with --work-dir'
    )
    assert len(RUNS) == 4


def test_configs_of_one_experiment_share_a_work_dir(tmp_path) -> None:
    work_dir = tmp_path / 'work'
    for file in ('mine.py', 'yours.py'):
        make(tmp_path, file=file, experiment='ours').run(work_dir)
    assert list('abcd') == RUNS
    assert load_json(work_dir / 'experiment.json') == dict(experiment='ours')
    with pytest.raises(UserError, match="belongs to 'ours', not '"):
        make(tmp_path).run(work_dir)


@pytest.mark.parametrize(
    'stages, message',
    [
        ([], "has no list 'pipeline' of stages"),
        ([dict(type='Number', name='a'), dict(type='Number', name='a')],
         "two stages are named 'a'"),
        ([dict(type='Number', name='cam'), dict(type='Number', name='b', reads=('camm',))],
         "stage 'b' reads 'camm', which is no earlier stage: did you mean 'cam'? "
         'Allowed: cam'),
        ([dict(type='Number', name='b', reads=('b',))],
         "stage 'b' reads 'b', which is no earlier stage: Allowed: nothing"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, stages, message) -> None:
    (tmp_path / 'mine.py').touch()
    cfg = Config(dict(pipeline=stages), filename=str(tmp_path / 'mine.py'))
    with pytest.raises(ConfigError) as error:
        Pipeline(cfg)
    assert message in str(error.value)
