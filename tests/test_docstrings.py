"""What a reader meets by name has a docstring; ruff's D1 rules check the rest."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def undocumented(node: ast.AST, path: str = '') -> Iterator[str]:
    """Dotted names without an underscore, at any depth, that have no docstring."""
    for child in ast.iter_child_nodes(node):
        below = path
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            below = f'{path}.{child.name}'.lstrip('.')
            if not child.name.startswith('_') and not ast.get_docstring(child):
                yield below
        yield from undocumented(child, below)


def test_every_name_without_an_underscore_has_a_docstring() -> None:
    found = [
        f'{path.relative_to(ROOT)}: {name}'
        for path in sorted((ROOT / 'wsss_plugins').rglob('*.py'))
        for name in undocumented(ast.parse(path.read_text('utf-8')))
    ]
    assert not found, 'say what it does, gives and raises, or begin its name with _'


@pytest.mark.parametrize(
    ('source', 'names'),
    [
        ('def f():\n    "Words."', []),
        ('def f(): pass', ['f']),
        ('def _f(): pass', []),
        ('class _A:\n    "Words."\n    def g(self): pass', ['_A.g']),
        ('def _f():\n    if 1:\n        def h(): pass', ['_f.h']),
        ('class A:\n    "Words."\n    def __len__(self): pass', []),
    ],
)
def test_the_rule_itself(source: str, names: list[str]) -> None:
    assert list(undocumented(ast.parse(source))) == names
