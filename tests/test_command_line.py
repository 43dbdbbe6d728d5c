"""Tools answer at once where nothing is to be computed: --help, a misspelt option."""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from wsss_plugins.cli import run_tool
from wsss_plugins.errors import UserError
from wsss_plugins.structures.interchange import SEED_FORMATS

ROOT = Path(__file__).parents[1]
TOOLS = [path.name for path in sorted((ROOT / 'tools').glob('*.py'))]
HEAVY = ('torch', 'mmengine', 'mmcv', 'mmseg', 'timm', 'cv2', 'scipy', 'numpy')

PROBE = """
import json, runpy, sys
tool, word = sys.argv[1:]
sys.argv = [tool, word]
try:
    runpy.run_path(tool, run_name='__main__')
    code = 'returned'
except SystemExit as left:
    code = left.code
sys.stdout.write('\\n' + json.dumps([code, list(sys.modules)]))
"""


def answer(tool: str, word: str) -> tuple[object, set[str], str]:
    """Exit code, the packages imported on the way, and all that was printed."""
    done = subprocess.run(
        [sys.executable, '-c', PROBE, str(ROOT / 'tools' / tool), word],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said, _, last = done.stdout.rpartition('\n')
    code, modules = json.loads(last)
    return code, {name.split('.')[0] for name in modules}, said + done.stderr


@pytest.mark.parametrize('tool', TOOLS)
def test_help_imports_nothing_heavy(tool: str) -> None:
    code, imported, said = answer(tool, '--help')
    assert code == 0
    assert f'usage: {tool}' in said
    assert not imported & set(HEAVY)


@pytest.mark.parametrize('tool', TOOLS)
def test_a_misspelt_option_is_refused_at_once(tool: str) -> None:
    code, imported, said = answer(tool, '--nonsense')
    assert code == 2
    assert f'{tool}: error: ' in said
    assert not imported & set(HEAVY)


def test_help_lists_the_formats_of_seeds() -> None:
    """The tool lists them itself, since importing them takes seconds."""
    tool = runpy.run_path(str(ROOT / 'tools/convert_seeds.py'), run_name='tool')
    listed = {
        name: holds
        for row, holds in tool['FORMATS'].items()
        for name in row.split(', ')
    }
    assert listed == {name: each.holds for name, each in SEED_FORMATS.items()}


def test_a_name_with_control_characters_does_not_reach_the_terminal(
    capsys, monkeypatch
) -> None:
    def work(_: argparse.Namespace) -> None:
        raise UserError('image a\x1b[2J\u202eb.jpg ü cannot be decoded')

    monkeypatch.setattr(sys, 'argv', ['tool'])
    with pytest.raises(SystemExit):
        run_tool(argparse.ArgumentParser(), work, check=False)
    said = capsys.readouterr().err
    assert said == 'error: image a\\x1b[2J\\u202eb.jpg ü cannot be decoded\n'
