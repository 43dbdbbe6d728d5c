"""Docstrings and docs that one understands without the lines around them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / 'wsss_plugins'

ENTRY = re.compile(r'^ {4}(\w+): (.+)$', re.MULTILINE)
"""An error of a ``Raises:`` section, and the first line of its condition."""

POINTING = re.compile(
    r'(It|They|He|She|As|That|This|These|Those|One|There (is|are) none|Likewise|See|'
    r'Such|So|Its|Their|Then|Ditto)\b',
    re.IGNORECASE,
)
"""Words that a condition does not begin with: they point to another sentence."""


def raised(text: str) -> list[tuple[str, str]]:
    """Errors and conditions of the ``Raises:`` section of a docstring, if it has one."""
    _, _, section = text.partition('Raises:\n')
    section = re.split(r'^\S', section, maxsplit=1, flags=re.MULTILINE)[0]
    return ENTRY.findall(section)


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Name and docstring of everything that a file defines."""
    for node in ast.walk(ast.parse(path.read_text('utf-8'))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, ast.get_docstring(node) or ''


def pointing(path: Path) -> list[str]:
    """Conditions in a file that begin with a pronoun."""
    return [
        f'{path.name}, {name}: {error}: {condition}'
        for name, text in docstrings(path)
        for error, condition in raised(text)
        if POINTING.match(condition)
    ]


def test_conditions_of_errors_stand_alone() -> None:
    """Each names what is wrong: 'DataError: ``path`` holds no seeds', not 'It did'."""
    files = sorted(PACKAGE.rglob('*.py'))
    found = [line for path in files for line in pointing(path)]
    assert found == []
    assert sum(bool(raised(text)) for p in files for _, text in docstrings(p)) > 200


@pytest.mark.parametrize(
    ('condition', 'refused'),
    [('It did.', True), ('As said.', True), ('``path`` holds no seeds.', False)],
)
def test_the_rule_finds_pronouns(tmp_path: Path, condition: str, refused: bool) -> None:
    path = tmp_path / 'module.py'
    path.write_text(
        f'def f():\n    """Reads.\n\n    Raises:\n        DataError: {condition}\n    """\n'
    )
    assert bool(pointing(path)) == refused
