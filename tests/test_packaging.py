"""What the files around the package say about it agrees."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import wsss_plugins

ROOT = Path(__file__).parents[1]


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text('utf-8'))
    assert citation['version'] == wsss_plugins.__version__
    changelog = (ROOT / 'CHANGELOG.md').read_text('utf-8')
    newest = re.search(r'^## \[([^\]]+)\]', changelog, re.MULTILINE)
    assert newest and newest.group(1) == wsss_plugins.__version__


def test_citation_has_what_its_schema_requires() -> None:
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text('utf-8'))
    assert {'cff-version', 'message', 'title', 'authors'} <= set(citation)
    assert citation['license'] == 'Apache-2.0'


def test_requirements_name_one_opencv_and_no_stock_openmmlab() -> None:
    lines = [
        line
        for path in (ROOT / 'requirements').glob('*.txt')
        for line in path.read_text('utf-8').splitlines()
        if line and not line.startswith('#')
    ]
    names = {Requirement(line).name.lower() for line in lines}
    assert {name for name in names if name.startswith('opencv')} == {'opencv-python'}
    assert {name for name in names if name.startswith('mm')} == set()


def read_requirements(name: str) -> list[Requirement]:
    lines = (ROOT / 'requirements' / name).read_text('utf-8').splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def test_the_lowest_versions_are_the_lower_bounds() -> None:
    pinned = {
        r.name: str(r.specifier).removeprefix('==')
        for r in read_requirements('lowest.txt')
    }
    needed = read_requirements('runtime.txt')
    assert [r.name for r in needed] == list(pinned)
    for requirement in needed:
        (bound,) = [s.version for s in requirement.specifier if s.operator == '>=']
        low = pinned[requirement.name]
        assert low in requirement.specifier
        assert low.removesuffix('.0').startswith(bound), f'{requirement.name} {low}'


def test_typed_marker_is_shipped() -> None:
    assert (Path(wsss_plugins.__file__).parent / 'py.typed').is_file()


def test_ci_script_can_be_run() -> None:
    for name in ('run', 'versions'):
        assert (ROOT / '.ci' / name).stat().st_mode & stat.S_IXUSR
    lines = (ROOT / '.ci/run').read_text().splitlines()
    assert lines[-2:] == ['make lint test docs', '.ci/versions']
