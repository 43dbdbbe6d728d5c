"""No two configs say the same thing for more than a few lines, and all are not many."""

from __future__ import annotations

import ast
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

CONFIGS = Path(__file__).parents[1] / 'configs'
LONGEST_RUN = 15
ALL_LINES = 3200
"""Of the reproductions of the papers and their data."""

REAL_PHOTOS = ('voc_animals/', 'matrix/voc_animals', '_base_/frozen')
"""Configs of real photos on frozen networks, which came later."""

REAL_LINES = 800

MODERN = (
    *('irn/', 'sepl/', 'afa/', 'toco/'),
    *('_base_/road/irn', '_base_/road/sepl', '_base_/road/single_stage'),
)
"""Configs of methods beyond the three papers."""

MODERN_LINES = 900


def said(text: str) -> list[str]:
    """The lines of a config, whitespace folded, without blank ones, comments and imports."""
    imports = set[int]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return [
        ' '.join(line.split())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith('#') and number not in imports
    ]


def shared_runs(texts: dict[str, str], longer_than: int) -> list[tuple[str, str, str]]:
    """Pairs of files that share a run of more lines than that, and how it begins."""
    found = defaultdict[tuple[str, ...], list[str]](list)
    for name, text in texts.items():
        lines = said(text)
        for start in range(len(lines) - longer_than):
            found[tuple(lines[start : start + longer_than + 1])].append(name)
    return sorted(
        {
            (one, other, run[0])
            for run, names in found.items()
            for one, other in pairwise(dict.fromkeys(names))
        }
    )


def texts_of_configs() -> dict[str, str]:
    """Every config of the repository, bases included."""
    texts = {
        path.relative_to(CONFIGS).as_posix(): path.read_text('utf-8')
        for path in CONFIGS.rglob('*.py')
    }
    assert len(texts) > 80
    return texts


def test_all_configs_together_are_short() -> None:
    """Every line counts: blank ones, comments, docstrings and imports too."""
    lines = {name: text.count('\n') for name, text in texts_of_configs().items()}
    longest = sorted(lines, key=lambda name: lines[name])[-5:]
    real = {name: many for name, many in lines.items() if name.startswith(REAL_PHOTOS)}
    modern = {name: many for name, many in lines.items() if name.startswith(MODERN)}
    rest = sum(lines.values()) - sum(real.values()) - sum(modern.values())
    assert rest <= ALL_LINES, f'the longest are {", ".join(longest)}'
    assert 0 < sum(real.values()) <= REAL_LINES
    assert 0 < sum(modern.values()) <= MODERN_LINES


def test_no_two_configs_share_a_long_run() -> None:
    texts = texts_of_configs()
    assert shared_runs(texts, LONGEST_RUN) == []


def test_a_shared_run_is_found() -> None:
    lines = [f'a{i} = {i}' for i in range(20)]
    one, other = '\n'.join(lines[:16]), '\n\n'.join(['b = 1', '# c', *lines[:16]])
    assert shared_runs(dict(one=one, other=other), 15) == [('one', 'other', 'a0 = 0')]
    assert shared_runs(dict(one=one, other='\n'.join(lines[1:])), 15) == []
