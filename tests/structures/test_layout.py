"""The layout of result folders is stated in one module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from wsss_plugins.structures import layout

ROOT = Path(__file__).parents[2]
NAMES = {
    value
    for name, value in vars(layout).items()
    if name.endswith('_FILE') and isinstance(value, str)
}


def written_out(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every string that is the name of a result file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield node.lineno, str(node.value)


def test_no_other_module_writes_out_the_name_of_a_result_file() -> None:
    paths = {*(ROOT / 'wsss_plugins').rglob('*.py'), *(ROOT / 'tools').glob('*.py')}
    found = [
        f'{path.relative_to(ROOT)}:{line}: {name}'
        for path in sorted(paths - {Path(layout.__file__)})
        for line, name in written_out(ast.parse(path.read_text('utf-8')))
    ]
    assert not found, 'import it from wsss_plugins.structures.layout'


def test_the_search_itself() -> None:
    source = "path = folder / 'scores.json'\nother = 'scores.jsonl'\n"
    assert list(written_out(ast.parse(source))) == [(1, 'scores.json')]


def test_where_artefacts_are_kept() -> None:
    stage = Path('work/stage')
    assert layout.seed_path(stage, 'a/b') == stage / 'seeds/a/b.npz'
    assert layout.label_path(stage, 'a/b') == stage / 'labels/a/b.png'
    assert layout.confident_scores_path(stage, 'a') == stage / 'scores/a.npz'
