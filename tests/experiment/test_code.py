"""An edited plug-in: its stage runs again with those that read it, and nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from wsss_plugins.engine import Stage
from wsss_plugins.engine.code_digests import CodeDigests
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.registry import STAGES
from wsss_plugins.structures import load_json, save_json
from wsss_plugins.structures.card import Code, CodeState

RUNS: list[str] = []

FILES = {
    'my_heads/__init__.py': 'from my_heads.first import First\n',
    'my_heads/first.py': '''
"""A head."""
from wsss_plugins.registry import SEED_HEADS

from .scale import scaled
from my_heads.base import Base


class First(Base):
    """Returns one."""

    def maps(self):
        return scaled(1)  # one
''',
    'my_heads/second.py': """
from my_heads.base import Base


class Second(Base):
    def maps(self):
        return 2
""",
    'my_heads/base.py': 'class Base:\n    factor = 1\n',
    'my_heads/scale.py': """
def scaled(x):
    return 2 * x


def unused(x):
    return x
""",
}
MODULES = ('scale', 'base', 'first', 'second')


class Maps(Stage):
    """Adds the number of its head to the sum of its inputs."""

    def __init__(
        self, name: str, head: Any = None, reads: tuple[str, ...] = (), k: int = 0
    ) -> None:
        super().__init__(name)
        self.head, self.inputs, self.k = head, tuple(reads), k

    def run(self, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        RUNS.append(self.name)
        (out / 'half.txt').touch()
        total = sum(load_json(folder / 'n.json') for folder in inputs.values())
        if self.head is not None:
            total += self.head['type']().maps()
        save_json(out / 'n.json', total)
        return dict(total=total)


class Work:
    """A work dir whose pipeline is a -> c and b -> d; a and b have heads of a user."""

    def __init__(self, tmp_path: Path) -> None:
        self.files, self.folder = tmp_path / 'code', tmp_path / 'work'
        for name, text in FILES.items():
            self.write(name, text)
        (tmp_path / 'mine.py').touch()
        self.config = tmp_path / 'mine.py'
        self.changes: dict[str, dict[str, Any]] = {}

    def write(self, name: str, text: str) -> None:
        (self.files / name).parent.mkdir(parents=True, exist_ok=True)
        (self.files / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.files / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def pipeline(self, **more: Any) -> Pipeline:
        importlib.invalidate_caches()
        for name in [m for m in sys.modules if m.partition('.')[0] == 'my_heads']:
            del sys.modules[name]
        first = importlib.import_module('my_heads.first').First
        second = importlib.import_module('my_heads.second').Second
        stages = [
            dict(type='Maps', name='a', head=dict(type=first)),
            dict(type='Maps', name='b', head=dict(type=second)),
            dict(type='Maps', name='c', reads=('a',)),
            dict(type='Maps', name='d', reads=('b',)),
        ]
        for stage in stages:
            stage.update(self.changes.get(str(stage['name']), {}))
        seed = more.pop('seed', 0)
        cfg = Config(dict(pipeline=stages, seed=seed), filename=str(self.config))
        return Pipeline(cfg, **more)

    def run(self, **more: Any) -> list[str]:
        """Runs it; the stages that ran."""
        RUNS.clear()
        self.records = self.pipeline(**more).run(self.folder)
        return list(RUNS)

    def why(self, **more: Any) -> dict[str, tuple[str, ...]]:
        found = self.pipeline(**more).examine(self.folder)
        return {name: f.why for name, f in found.items() if f.state == 'changed'}


@pytest.fixture
def work(tmp_path, monkeypatch) -> Iterator[Work]:
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    monkeypatch.syspath_prepend(str(tmp_path / 'code'))
    STAGES.register_module(name='Maps', module=Maps)
    yield Work(tmp_path)
    STAGES.module_dict.pop('Maps')
    for name in [m for m in sys.modules if m.partition('.')[0] == 'my_heads']:
        del sys.modules[name]


def test_an_edited_head_reruns_its_stage_and_what_reads_it(work) -> None:
    assert work.run() == ['a', 'b', 'c', 'd'] and work.run() == []
    before = work.records
    work.edit('my_heads/first.py', 'scaled(1)', 'scaled(3)')
    assert work.why() == dict(
        a=('code: my_heads.first (First)',),
        c=("reads 'a', which is not the one that it read",),
    )
    assert work.run() == ['a', 'c']
    assert work.records['c'].metrics == dict(total=6)
    assert work.run() == []
    work.edit('my_heads/first.py', 'scaled(3)', 'scaled(1)')
    assert work.run() == [] and work.records == before
    assert load_json(work.folder / 'c/n.json') == 2


@pytest.mark.parametrize(
    'file, old, new',
    [
        ('first.py', '  # one', ''),
        ('first.py', '"""Returns one."""', '"""Returns a number."""'),
        ('first.py', '"""A head."""\n', '\n\n'),
        ('first.py', 'scaled(1)', '(\n            scaled(\n1))'),
        ('scale.py', 'return 2 * x', 'return (2*x)  # twice'),
    ],
)
def test_comments_docstrings_and_layout_rerun_nothing(work, file, old, new) -> None:
    work.run()
    work.edit(f'my_heads/{file}', old, new)
    assert work.why() == {} and work.run() == []


def test_an_imported_helper_counts(work) -> None:
    work.run()
    work.edit('my_heads/scale.py', '2 * x', '5 * x')
    assert work.why()['a'] == ('code: my_heads.scale (scaled)',)
    assert work.run() == ['a', 'c'] and work.records['c'].metrics['total'] == 5


def test_a_base_class_counts_for_all_that_derive_from_it(work) -> None:
    work.run()
    work.edit('my_heads/base.py', 'factor = 1', 'factor = 2')
    assert work.run() == ['a', 'b', 'c', 'd']


def test_a_package_that_only_passes_names_on_joins_nothing(work) -> None:
    """An edit of the second head changes nothing for one imported beside it."""
    work.edit('my_heads/__init__.py', 'First\n', 'First\nfrom .second import Second\n')
    work.edit('my_heads/first.py', 'from my_heads.base', 'from my_heads')
    work.edit(
        'my_heads/__init__.py',
        'from',
        'from my_heads.base import Base\nfrom',
    )
    work.run()
    work.edit('my_heads/second.py', 'return 2', 'return 3')
    assert work.run() == ['b', 'd']
    work.edit('my_heads/base.py', 'factor = 1', 'factor = 2')
    assert work.run() == ['a', 'b', 'c', 'd']


def test_an_interrupted_stage_of_other_code_starts_anew(work, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(f'{__name__}.save_json', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            work.run()
    (work.folder / 'a/old.txt').touch()
    work.edit('my_heads/first.py', 'scaled(1)', 'scaled(3)')
    assert work.run() == ['a', 'b', 'c', 'd']
    assert not (work.folder / 'a/old.txt').exists()


def test_accept_code_keeps_the_results_and_says_so(work) -> None:
    work.run()
    work.edit('my_heads/first.py', 'scaled(1)', 'scaled(3)')
    assert work.why(accept_code=True) == {}
    assert work.run(accept_code=True) == []
    assert work.records['a'].metrics == dict(total=2)
    remark = Code('a', CodeState.ACCEPTED)
    for name, said in dict(a=(remark,), b=(), c=(remark,), d=()).items():
        assert work.records[name].supervision.code == said, name
    assert work.run() == [], 'once accepted, it need not be said again'
    work.edit('my_heads/first.py', 'scaled(3)', 'scaled(1)')
    assert work.run() == [] and work.records['c'].supervision.code == ()
    work.edit('my_heads/first.py', 'scaled(1)', 'scaled(4)')
    work.changes['c'] = dict(k=1)
    assert work.run(accept_code=True) == ['c'], 'a changed config runs nevertheless'
    assert work.records['c'].supervision.code == (remark,)


def test_redo_does_one_again_and_what_reads_it(work) -> None:
    work.run()
    before = work.records
    assert work.why(redo=['a']) == dict(
        a=('--redo',), c=("reads 'a', which is not the one that it read",)
    )
    assert work.run(redo=['a']) == ['a', 'c']
    assert work.run() == []
    assert work.records['a'].redone == 1 and work.records['b'] == before['b']
    aside = {path.name.partition('-')[0] for path in work.folder.glob('.previous/*')}
    assert aside == {'a', 'c'}
    assert work.run(redo=['a', 'd']) == ['a', 'c', 'd']
    assert work.records['a'].redone == 2 and work.records['d'].redone == 1
    work.edit('my_heads/first.py', 'scaled(1)', 'scaled(3)')
    assert work.run() == ['a', 'c']
    work.edit('my_heads/first.py', 'scaled(3)', 'scaled(1)')
    assert work.run() == [] and work.records['a'].redone == 2, 'the last of the three'


@pytest.mark.parametrize('again', [('a', 'b'), ()])
@pytest.mark.parametrize('broken', ['a', 'b', 'c'])
def test_a_redo_that_was_killed_goes_on(work, monkeypatch, broken, again) -> None:
    """With the same command or without: what was done again is not done once more."""
    work.run()
    real = Maps.run

    def dies(self: Maps, out: Path, inputs: dict[str, Path]) -> dict[str, Any]:
        if self.name == broken:
            (out / 'half.txt').touch()
            raise KeyboardInterrupt
        return real(self, out, inputs)

    with monkeypatch.context() as patch:
        patch.setattr(Maps, 'run', dies)
        with pytest.raises(KeyboardInterrupt):
            work.run(redo=['a', 'b'])
    first = list(RUNS)
    assert (work.folder / broken / 'half.txt').is_file()
    (work.folder / broken / 'kept.txt').touch()
    assert first + work.run(redo=again) == ['a', 'b', 'c', 'd']
    assert (work.folder / broken / 'kept.txt').is_file(), 'it went on'
    assert work.records['a'].redone == work.records['b'].redone == 1
    assert work.run() == [] and not (work.folder / '.redo.json').exists()
    assert work.run(redo=['a']) == ['a', 'c']


def test_redo_of_what_does_not_run_is_refused(work) -> None:
    work.run()
    with pytest.raises(ConfigError, match=r"--redo: no stage 'aa': did you mean 'a'"):
        work.pipeline(redo=['aa'])
    with pytest.raises(
        UserError, match=r"--redo a: the stages that run are 'b' to 'd'"
    ):
        work.pipeline(redo=['a']).run(work.folder, start='b')
    assert work.run() == []


def test_why_a_stage_has_changed(work) -> None:
    work.changes['a'] = dict(k=[1, 2])
    work.run()
    work.changes['a'] = dict(k=[1, 3], reads=())
    work.changes['d'] = dict(k=7)
    reads = "reads '{}', which is not the one that it read".format
    assert work.why() == dict(
        a=('config: k [1, 2] → [1, 3], reads nothing → []',),
        c=(reads('a'),),
        d=('config: k nothing → 7',),
    )
    work.changes = dict(a=dict(k=[1, 2]))
    assert work.why() == {}
    assert work.why(seed=3) == dict(
        a=('seed: 0 → 3',),
        b=('seed: 0 → 3',),
        c=('seed: 0 → 3', reads('a')),
        d=('seed: 0 → 3', reads('b')),
    )


def test_records_without_code_count_as_unchanged_and_their_cards_say_so(work) -> None:
    work.run()
    for name in 'abcd':
        record = load_json(work.folder / name / 'record.json')
        for key in ('code', 'accepted', 'result', 'reads', 'redone'):
            del record[key]  # as an earlier version wrote it
        save_json(work.folder / name / 'record.json', record)
        (work.folder / name / 'config.json').unlink()
    work.edit('my_heads/first.py', 'scaled(1)', 'scaled(3)')
    assert work.why() == {}
    work.changes['d'] = dict(k=1)
    message = 'config or data (the version that ran it kept no copy of them)'
    assert work.why() == dict(d=(message,))
    work.changes = {}
    assert work.run() == []
    old = {name: Code(name, CodeState.UNRECORDED) for name in 'abc'}
    assert work.records['b'].supervision.code == (old['b'],)
    assert work.records['c'].supervision.code == (old['a'], old['c'])
    assert work.run() == []
    work.edit('my_heads/first.py', 'scaled(3)', 'scaled(4)')
    assert work.run() == ['a', 'c'], 'from the first run on, edits are noticed'
    assert work.records['c'].supervision.code == ()
    work.edit('my_heads/first.py', 'scaled(4)', 'scaled(3)')
    assert work.run() == [], 'the old results come back'


def test_source_that_cannot_be_found_is_unknown(work) -> None:
    module = type(sys)('written_in_a_notebook')
    sys.modules[module.__name__] = module
    try:
        exec('class Head:\n    def maps(self):\n        return 1', vars(module))
        config = dict(head=dict(type=module.Head))
        assert CodeDigests()(config, Maps)['written_in_a_notebook'] == 'unknown'
        work.changes['a'] = config
        assert work.run() == ['a', 'b', 'c', 'd'] and work.run() == []
        assert work.records['c'].supervision.code == (Code('a', CodeState.UNKNOWN),)
    finally:
        del sys.modules[module.__name__]


def test_code_in_an_archive_and_of_a_half_edited_file(work, tmp_path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / 'heads.zip', 'w') as file:
        file.writestr('zipped_heads.py', 'class Head:\n    pass\n')
    sys.path.insert(0, str(tmp_path / 'heads.zip'))
    try:
        kind = importlib.import_module('zipped_heads').Head
        assert set(CodeDigests()(dict(type=kind), Maps)) >= {'zipped_heads:Head'}
    finally:
        sys.path.remove(str(tmp_path / 'heads.zip'))
        del sys.modules['zipped_heads']
    work.pipeline()
    work.edit('my_heads/second.py', 'return 2', 'return (')
    kind = sys.modules['my_heads.second'].Second
    assert CodeDigests()(dict(type=kind), Maps)['my_heads.second'] == 'unknown'


def test_installed_plug_ins_count_by_their_version(tmp_path, monkeypatch) -> None:
    site = tmp_path / 'site-packages'
    (site / 'other_heads').mkdir(parents=True)
    (site / 'other_heads/__init__.py').write_text('class Head:\n    pass\n')
    info = site / 'other_heads-0.1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: other-heads\nVersion: 0.1\n'
    )
    (info / 'top_level.txt').write_text('other_heads\n')
    (info / 'RECORD').write_text('other_heads/__init__.py,,\n')
    monkeypatch.syspath_prepend(str(site))
    kind = importlib.import_module('other_heads').Head
    try:
        config = dict(head=dict(type=kind), optimizer=dict(type='SGD'))
        found = CodeDigests()(config, Stage)
        assert found == {'library other-heads': '0.1'}
    finally:
        del sys.modules['other_heads']
