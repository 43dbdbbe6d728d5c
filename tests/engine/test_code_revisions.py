"""The revisions of this package's code: declared, and what follows from them."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from wsss_plugins.engine import Stage, code_digests
from wsss_plugins.engine.code_digests import (
    FOLDER,
    WITHOUT_RESULTS,
    CodeDigests,
    package_digests,
    read_revisions,
    settled,
    write_revisions,
)

ROOT = Path(__file__).parents[2]
CAM = 'wsss_plugins.seeds.cam'


def test_every_edited_module_is_declared() -> None:
    """After an edit: python tools/code_revisions.py --same, or --different MODULE."""
    declared = {name: said for name, (_, said) in read_revisions().items()}
    assert declared == package_digests()


def test_the_file_that_git_has_is_the_one_that_the_tool_writes(monkeypatch, tmp_path):
    known, text = read_revisions(), code_digests.REVISIONS_FILE.read_text('utf-8')
    monkeypatch.setattr(code_digests, 'REVISIONS_FILE', tmp_path / 'revisions.json')
    write_revisions(known)
    assert (tmp_path / 'revisions.json').read_text('utf-8') == text
    assert read_revisions() == known


def test_what_changes_no_result_is_there() -> None:
    for name in WITHOUT_RESULTS:
        path = FOLDER.joinpath(*name.split('.'))
        assert path.is_dir() or path.with_suffix('.py').is_file(), name


def test_a_stage_relies_on_what_it_computes_with_and_no_more() -> None:
    reached = CodeDigests().reached_from('wsss_plugins.stages.refine')
    assert 'wsss_plugins.structures.seed' in reached
    assert 'wsss_plugins.refiners.threshold' in reached
    assert not any('vgg' in name or 'provenance' in name for name in reached)
    cam = CodeDigests().reached_from(CAM)
    assert {CAM, 'wsss_plugins.seeds.base'} < cam
    assert 'wsss_plugins.seeds.grad_cam' not in cam


@pytest.fixture
def revisions(monkeypatch, tmp_path):
    """Changes what the revisions say of CAM; the code of a stage with CAM then."""
    known = read_revisions()
    monkeypatch.setattr(code_digests, 'REVISIONS_FILE', tmp_path / 'revisions.json')

    def change(revision: int = 1, digest: str | None = None) -> dict[str, str]:
        write_revisions({**known, CAM: (revision, digest or known[CAM][1])})
        return CodeDigests()(dict(head=dict(type='CAM')), Stage)

    return change


def test_only_a_revision_or_an_edit_here_counts(revisions) -> None:
    said = package_digests()[CAM]
    assert revisions() == {}, 'what is as it was says nothing'
    assert revisions(2) == {CAM: 'revision 2'}
    edited = revisions(2, digest='other')
    assert edited == {CAM: f'revision 2, edited: {said}'}
    assert settled(edited) == edited
    revisions(2)
    assert settled(edited) == {CAM: 'revision 2'}, 'declared later, as something else'
    revisions(1)
    assert settled(edited) == {}, 'declared later, as the same'


@pytest.fixture
def tool(monkeypatch, tmp_path, capsys):
    """Runs the tool on a copy of the revisions in which CAM is not as it is declared."""
    known = read_revisions()
    file = tmp_path / 'revisions.json'
    monkeypatch.setattr(code_digests, 'REVISIONS_FILE', file)
    write_revisions({**known, CAM: (3, 'other'), 'wsss_plugins.gone': (1, 'x')})

    def run(*options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, 'argv', ['code_revisions.py', *options])
        code = 0
        try:
            runpy.run_path(str(ROOT / 'tools/code_revisions.py'), run_name='__main__')
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_the_tool_asks_for_every_edited_module(tool) -> None:
    before = json.loads(code_digests.REVISIONS_FILE.read_text())
    code, said = tool()
    assert code == 2 and f'2 modules were edited: {CAM}, wsss_plugins.gone.' in said
    code, said = tool('--different', CAM)
    assert code == 2 and '1 modules were edited: wsss_plugins.gone.' in said
    code, said = tool('--different', 'wsss_plugins.seeds.cams')
    assert code == 2 and f"did you mean '{CAM}'" in said
    assert json.loads(code_digests.REVISIONS_FILE.read_text()) == before


@pytest.mark.parametrize('options, revision', [((), 3), (('--different', CAM), 4)])
def test_the_tool_declares(tool, options, revision) -> None:
    code, said = tool('--same', *options)
    word = 'different' if options else 'the same'
    assert code == 0 and said == f'{CAM}: {word}\nwsss_plugins.gone: the same\n'
    assert read_revisions()[CAM] == (revision, package_digests()[CAM])
    assert 'wsss_plugins.gone' not in read_revisions()
    assert tool() == (0, '')
