"""The laws of the house that a machine can check, by reading the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / 'wsss_plugins'

# The rooms, from the ground up. A file imports from its own room and from rooms of
# earlier lines only; rooms of one line do not import each other.
ROOMS = """
errors
arguments plugins
blocks progress registry environment shares config_files
config
structures
lrp
losses affinity
backbones
classifiers segmentors
seeds refiners datasets metrics
datasets/preparation datasets/synthetic
engine
provenance
stages
report
experiment
board explain doctor
ending
launch cli
command
"""
RANK = {
    tuple(room.split('/')): rank
    for rank, line in enumerate(ROOMS.split('\n'))
    for room in line.split()
}

Found = Iterator[tuple[int, str]]


def room_of(parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """The room of a dotted name below wsss_plugins, or None where it has none."""
    for length in (2, 1):
        if parts[:length] in RANK:
            return parts[:length]
    return None


def parts_of(path: Path) -> tuple[str, ...]:
    """``('seeds', 'base')`` of wsss_plugins/seeds/base.py."""
    parts = path.relative_to(PACKAGE).with_suffix('').parts
    return parts[:-1] if parts[-1] == '__init__' else parts


def imported_modules(tree: ast.AST, package: tuple[str, ...]) -> Found:
    """Yields the line and dotted name of everything imported, relative names resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f'{module}.{a.name}') for a in node.names)


def upward_imports(
    tree: ast.AST, parts: tuple[str, ...], package: tuple[str, ...]
) -> Found:
    """Yields the imports that the order of the rooms forbids to file ``parts``."""
    here = room_of(parts)
    for line, name in imported_modules(tree, package):
        root, *rest = name.split('.')
        if root in ('configs', 'tools'):
            yield line, f'imports {root}'
        if root != 'wsss_plugins' or not rest:
            continue
        there = room_of(tuple(rest))
        if here is None or (
            there is not None and there != here and RANK[there] >= RANK[here]
        ):
            yield line, f'imports {name}'


def imports_between_files(trees: dict[str, ast.AST]) -> dict[str, set[str]]:
    """Which of the modules ``trees`` (dotted names) each of them imports.

    An import of a package counts where the name comes from the package itself; one for
    type checking alone counts too.
    """
    graph: dict[str, set[str]] = {}
    for module, tree in trees.items():
        found = set()
        for _, name in imported_modules(tree, ()):
            while name and name not in trees:
                name = name.rpartition('.')[0]
            found |= {name} - {'', module}
        graph[module] = found
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a graph, however long; of each the members, sorted."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for node in graph[pending.pop()] - seen:
                seen.add(node)
                pending.append(node)
        return seen

    after = {node: reached(node) for node in graph}
    found = {
        tuple(sorted(b for b in after[a] if a in after[b]))
        for a in graph
        if a in after[a]
    }
    return sorted(map(list, found))


def banned_constructs(tree: ast.AST) -> Found:
    """Yields calls that read pickles, choose a device by name or print."""
    banned = {('allow_pickle', True), ('weights_only', False)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and node.func.attr == 'cuda':
            yield node.lineno, '.cuda()'
        if isinstance(node.func, ast.Name) and node.func.id == 'print':
            yield node.lineno, 'print()'
        for word in node.keywords:
            value = getattr(word.value, 'value', None)
            if isinstance(value, bool) and (word.arg, value) in banned:
                yield node.lineno, f'{word.arg}={value}'


def long_functions(tree: ast.AST, most: int = 60) -> Found:
    """Yields functions of more than ``most`` lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > most:
                yield node.lineno, f'{node.name} has {length} lines'


@cache
def project_files() -> list[Path]:
    """Files that git tracks or would track."""
    command = ['git', 'ls-files', '--cached', '--others', '--exclude-standard']
    try:
        listed = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('not a git checkout')
    paths = (ROOT / line for line in listed.splitlines())
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def python_files() -> list[Path]:
    return [path for path in project_files() if path.suffix == '.py']


def text_of(path: Path) -> str | None:
    """The text of ``path``, or None when it is no text."""
    try:
        return path.read_text('utf-8')
    except UnicodeDecodeError:
        return None


def where(path: Path, line: int, what: str) -> str:
    return f'{path.relative_to(ROOT)}:{line}: {what}'


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text('utf-8'))


def may_print(path: Path) -> bool:
    """Whether a file of the package speaks to the terminal: progress and commands."""
    return parts_of(path)[0] in ('progress', 'command')


PACKAGE_FILES = sorted(PACKAGE.rglob('*.py'))


def test_every_file_has_a_room() -> None:
    homeless = [path for path in PACKAGE_FILES if room_of(parts_of(path)) is None]
    assert homeless == [PACKAGE / '__init__.py'], 'give each new room its line in ROOMS'


def test_imports_run_down_only() -> None:
    offences = [
        where(path, line, what)
        for path in PACKAGE_FILES
        for line, what in upward_imports(
            parsed(path), parts_of(path), path.relative_to(ROOT).parts[:-1]
        )
    ]
    assert not offences


def test_no_circle_of_files() -> None:
    trees = {'.'.join(('wsss_plugins', *parts_of(p))): parsed(p) for p in PACKAGE_FILES}
    assert not circles(imports_between_files(trees))


@pytest.mark.parametrize(
    ('sources', 'expected'),
    [
        ({'a': 'import b', 'b': ''}, []),
        ({'a': 'import b', 'b': 'import a'}, [['a', 'b']]),
        ({'a': 'from b import x', 'b': 'def f():\n    import a'}, [['a', 'b']]),
        (
            {'p': '', 'p.a': 'from p import b', 'p.b': 'from p.c import x', 'p.c': ''},
            [],
        ),
        (
            {'a': 'import b', 'b': 'import c', 'c': 'import d', 'd': 'import a'},
            [['a', 'b', 'c', 'd']],
        ),
        ({'p': 'from p.a import x', 'p.a': 'from p import y'}, [['p', 'p.a']]),
    ],
)
def test_the_law_of_circles_itself(
    sources: dict[str, str], expected: list[list[str]]
) -> None:
    trees: dict[str, ast.AST] = {name: ast.parse(s) for name, s in sources.items()}
    assert circles(imports_between_files(trees)) == expected


def test_tools_import_no_config() -> None:
    offences = [
        where(path, line, name)
        for path in sorted((ROOT / 'tools').glob('*.py'))
        for line, name in imported_modules(parsed(path), ())
        if name.split('.')[0] == 'configs'
    ]
    assert not offences


@pytest.mark.parametrize(
    ('file', 'source', 'allowed'),
    [
        ('seeds.cam', 'from wsss_plugins.backbones import Tokens', True),
        ('seeds.cam', 'from wsss_plugins.seeds.base import SeedHead', True),
        ('seeds.cam', 'from .base import SeedHead', True),
        ('seeds.cam', 'from wsss_plugins.refiners import Refiner', False),
        ('seeds.cam', 'from wsss_plugins import stages', False),
        ('seeds.cam', 'import wsss_plugins.stages.train', False),
        ('seeds.cam', 'def f():\n    from ..stages import Stage', False),
        ('datasets.preparation.sbd', 'from wsss_plugins.datasets import files', True),
        ('datasets.voc12', 'from wsss_plugins.datasets import synthetic', False),
        ('engine.record', 'from wsss_plugins.provenance.files import sign', False),
        ('stages.train', 'from wsss_plugins.provenance.files import sign', True),
        ('errors', 'from wsss_plugins.registry import MODELS', False),
        ('stages.seed', 'from configs.acr import voc', False),
        ('__init__', 'from wsss_plugins.errors import UserError', False),
    ],
)
def test_the_law_of_rooms_itself(file: str, source: str, allowed: bool) -> None:
    parts = tuple(file.split('.'))
    package = ('wsss_plugins', *parts[:-1])
    assert (not list(upward_imports(ast.parse(source), parts, package))) is allowed


def test_import_of_the_package_loads_nothing() -> None:
    code = (
        'import sys; before = set(sys.modules); import wsss_plugins; '
        "print(*sorted(set(sys.modules) - before - {'__future__'}))"
    )
    loaded = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert loaded == ['wsss_plugins']


def test_files_and_functions_are_short() -> None:
    offences = [
        where(path, line, what)
        for path in python_files()
        for line, what in long_functions(parsed(path))
    ]
    lengths = {
        path: len(path.read_text('utf-8').splitlines()) for path in python_files()
    }
    offences += [where(p, n, 'over 400 lines') for p, n in lengths.items() if n > 400]
    assert not offences


def test_no_pickle_no_fixed_device_no_print() -> None:
    offences = [
        where(path, line, what)
        for path in PACKAGE_FILES
        for line, what in banned_constructs(parsed(path))
        if not (what == 'print()' and may_print(path))
    ]
    assert not offences


def test_the_ban_itself() -> None:
    source = 'a.cuda()\nprint(1)\nf(x, allow_pickle=True)\nf(weights_only=False)\n'
    assert [line for line, _ in banned_constructs(ast.parse(source))] == [1, 2, 3, 4]
    assert not list(banned_constructs(ast.parse('f(allow_pickle=False, n=0)')))


FOREIGN = re.compile(
    r'(?<![\w.~-])/(work|opt|tmp|root|farm)/|'
    r'pypi[.]org|pythonhosted[.]org|anaconda[.]org|download[.]pytorch'
)


@pytest.mark.parametrize(
    ('text', 'foreign'),
    [
        ('see /' + 'work/shared', True),
        ("Path('/" + "tmp/x')", True),
        ('--index https://pypi' + '.org/simple', True),
        ('../shared and work_dirs/opt/x', False),
        ('~/work/data', False),
    ],
)
def test_the_foreign_pattern_itself(text: str, foreign: bool) -> None:
    assert bool(FOREIGN.search(text)) is foreign


def test_no_machine_path_and_no_registry_host() -> None:
    offences = [
        where(path, number, line.strip())
        for path in project_files()
        for number, line in enumerate((text_of(path) or '').splitlines(), 1)
        if FOREIGN.search(line)
    ]
    assert not offences
