"""The tutorial notebook: executed cell by cell, and committed with its pictures."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / 'docs/tutorial.ipynb'
CELLS = json.loads(NOTEBOOK.read_text('utf-8'))['cells']
CODE = [cell for cell in CELLS if cell['cell_type'] == 'code']
MIOU = re.compile(r'^(.+): mIoU ([\d.]+)$', re.MULTILINE)


def printed(cell: dict[str, Any]) -> str:
    """What a cell printed when the notebook was committed."""
    streams = [o for o in cell['outputs'] if o['output_type'] == 'stream']
    return ''.join(''.join(output['text']) for output in streams)


def run(source: str, names: dict[str, Any]) -> object:
    """Executes a cell as a notebook does; returns the value of its last line."""
    tree = ast.parse(source)
    last = tree.body[-1] if isinstance(tree.body[-1], ast.Expr) else None
    if last is not None:
        tree.body.pop()
    exec(compile(tree, 'tutorial.ipynb', 'exec'), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), 'tutorial.ipynb', 'eval'), names)


def shows_pictures(value: object) -> bool:
    if isinstance(value, Image.Image):
        return True
    return '<img ' in getattr(value, '_repr_html_', str)()


def test_it_was_committed_as_it_ran() -> None:
    assert NOTEBOOK.stat().st_size < 500_000
    assert [cell['execution_count'] for cell in CODE] == [*range(1, len(CODE) + 1)]
    outputs = [output for cell in CODE for output in cell['outputs']]
    kinds = {output['output_type'] for output in outputs}
    assert kinds == {'stream', 'execute_result'}, 'no error, no warning'
    assert all(o.get('name', 'stdout') == 'stdout' for o in outputs)
    data = [o['data'] for o in outputs if o['output_type'] == 'execute_result']
    drawn = ['image/png' in d or '<img ' in ''.join(d['text/html']) for d in data]
    assert len(drawn) >= 6 and all(drawn)
    assert len(MIOU.findall(printed(CODE[-2]))) == 2


@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch, capsys) -> None:
    """From tags to masks; the numbers are near those that the page shows."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in CODE:
        value = run(''.join(cell['source']), names)
        results = [o for o in cell['outputs'] if o['output_type'] == 'execute_result']
        assert shows_pictures(value) is bool(results)
    now = dict(MIOU.findall(capsys.readouterr().out))
    then = dict(MIOU.findall(printed(CODE[-2])))
    assert now.keys() == then.keys()
    for name, miou in then.items():
        assert float(now[name]) == pytest.approx(float(miou), abs=4)
