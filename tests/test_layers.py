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

# A module imports from its own sub-package and from the layers above it only.
LAYERS = [
    {'errors'},
    {'environment', 'progress', 'registry'},
    {'config'},
    {'structures'},
    {'lrp', 'losses', 'affinity'},
    {'backbones'},
    {'classifiers', 'segmentors'},
    {'seeds', 'refiners', 'datasets', 'metrics'},
    {'stages'},
    {'explain', 'cli', 'doctor'},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

Found = Iterator[tuple[int, str]]


def part_of(path: Path) -> str:
    """The module or sub-package directly below wsss_plugins that holds ``path``."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported_modules(tree: ast.AST, package: tuple[str, ...]) -> Found:
    """Yields the line and dotted name of everything imported, relative names resolved."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f'{module}.{a.name}') for a in node.names)


def upward_imports(tree: ast.AST, part: str, package: tuple[str, ...]) -> Found:
    """Yields the imports that the layers forbid to ``part``."""
    for line, name in imported_modules(tree, package):
        root, _, rest = name.partition('.')
        target = rest.split('.')[0]
        if root in ('configs', 'tools'):
            yield line, f'{part} imports {root}'
        elif (
            root == 'wsss_plugins'
            and target != part
            and RANK.get(target, -1) >= RANK.get(part, 0)
        ):
            yield line, f'{part} imports {target}'


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


PACKAGE_FILES = sorted(PACKAGE.rglob('*.py'))


def test_every_part_has_a_layer() -> None:
    parts = {part_of(path) for path in PACKAGE_FILES} - {'__init__'}
    assert parts <= set(RANK), 'give each new part its place in LAYERS'


def test_imports_flow_one_way() -> None:
    offences = [
        where(path, line, what)
        for path in PACKAGE_FILES
        for line, what in upward_imports(
            parsed(path), part_of(path), path.relative_to(ROOT).parts[:-1]
        )
    ]
    assert not offences


def test_tools_import_no_config() -> None:
    offences = [
        where(path, line, name)
        for path in sorted((ROOT / 'tools').glob('*.py'))
        for line, name in imported_modules(parsed(path), ())
        if name.split('.')[0] == 'configs'
    ]
    assert not offences


@pytest.mark.parametrize(
    ('part', 'source', 'allowed'),
    [
        ('seeds', 'from wsss_plugins.backbones import Tokens', True),
        ('seeds', 'from wsss_plugins.seeds.base import SeedHead', True),
        ('seeds', 'from .base import SeedHead', True),
        ('seeds', 'from wsss_plugins.refiners import Refiner', False),
        ('seeds', 'from wsss_plugins import stages', False),
        ('seeds', 'import wsss_plugins.stages.train', False),
        ('seeds', 'def f():\n    from ..stages import Stage', False),
        ('errors', 'from wsss_plugins.registry import MODELS', False),
        ('stages', 'from configs.acr import voc', False),
        ('__init__', 'from wsss_plugins.errors import UserError', False),
    ],
)
def test_the_layer_law_itself(part: str, source: str, allowed: bool) -> None:
    found = list(upward_imports(ast.parse(source), part, ('wsss_plugins', part)))
    assert (not found) is allowed


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
        if not (path.name == 'progress.py' and what == 'print()')
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
