"""Commands answer at once where nothing is to be computed: --help, a misspelt option."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from wsss_plugins.cli import run_tool
from wsss_plugins.command.convert import FORMATS
from wsss_plugins.command.main import COMMANDS, main
from wsss_plugins.errors import UserError
from wsss_plugins.structures.interchange import SEED_FORMATS

ROOT = Path(__file__).parents[1]
TOOLS = [f'tools/{path.name}' for path in sorted((ROOT / 'tools').glob('*.py'))]
ASKED = [*TOOLS, *(f'wsss {name}' for name in COMMANDS)]
HEAVY = ('torch', 'mmengine', 'mmcv', 'mmseg', 'timm', 'cv2', 'scipy', 'numpy')

PROBE = """
import contextlib, io, json, runpy, sys
word, *asked = sys.argv[1:]
answers = {}
for command in asked:
    sys.argv = [*command.split(), word]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            if sys.argv[0] == 'wsss':
                runpy.run_module('wsss_plugins.command', run_name='__main__')
            else:
                runpy.run_path(sys.argv[0], run_name='__main__')
            code = 'returned'
        except SystemExit as left:
            code = left.code
    answers[command] = [code, said.getvalue()]
print(json.dumps([answers, list(sys.modules)]))
"""


@cache
def answers(word: str) -> tuple[dict[str, tuple[object, str]], set[str]]:
    """Exit code and words of every command, and the packages that one process imported."""
    done = subprocess.run(
        [sys.executable, '-c', PROBE, word, *ASKED],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found, modules = json.loads(done.stdout)
    return found, {name.split('.')[0] for name in modules}


def name_of(command: str) -> str:
    """How a command calls itself."""
    return Path(command).name if command.startswith('tools/') else command


@pytest.mark.parametrize('command', ASKED)
def test_help(command: str) -> None:
    code, said = answers('--help')[0][command]
    assert code == 0
    assert f'usage: {name_of(command)}' in said


@pytest.mark.parametrize('command', ASKED)
def test_a_misspelt_option_is_refused(command: str) -> None:
    code, said = answers('--nonsense')[0][command]
    assert code == 2
    assert said.startswith(f'{name_of(command)}: error: ') and said.count('\n') == 1


@pytest.mark.parametrize('word', ['--help', '--nonsense'])
def test_nothing_heavy_is_imported_for_an_answer(word: str) -> None:
    imported = answers(word)[1]
    assert 'wsss_plugins' in imported and not imported & set(HEAVY)


def test_a_script_takes_the_arguments_of_its_command() -> None:
    """The words of both differ in the name alone."""
    said = answers('--help')[0]
    (_, script), (_, command) = said['tools/run_matrix.py'], said['wsss matrix']
    options = '\noptions:'
    assert options in script
    assert script.partition(options)[2] == command.partition(options)[2]


def test_help_names_every_command() -> None:
    done = wsss('--help')
    assert done.returncode == 0
    for name, does in COMMANDS.items():
        assert f'    {name}' in done.stdout and does in ' '.join(done.stdout.split())


def wsss(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'wsss_plugins.command', *words],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip


def test_a_misspelt_command_is_told_the_nearest() -> None:
    done = wsss('trian', 'acr/synthetic')
    assert done.returncode == 2
    assert (
        "wsss: error: there is no command 'trian': did you mean 'train'?" in done.stderr
    )


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('train acr/synthetic --sed 1', "no option '--sed': did you mean '--seed'?"),
        ('run a/b --worker-dir=x', "no option '--worker-dir': did you mean '--work-dir'?"),
        ('test a/b c d', "'d' is one word too many (more: wsss test --help)"),
        ('prepare voc12 --downlaod', "'--downlaod': did you mean '--download'?"),
        ('prepare vco12', "prepare: error: argument DATASET: invalid choice: 'vco12'"),
        ('list confgs', "list: error: argument KIND: invalid choice: 'confgs'"),
        ('launch 2 tran a/b', "'tran' is no command for several workers: did you mean 't"),
        ('launch two train a/b', "'two' is no whole number from 1 on"),
        ('completion bsh', "invalid choice: 'bsh'"),
        ('board --port x', "argument --port: 'x' is no whole number from 1 on"),
        ('diff a b --out\x1b[2J', r"there is no option '--out\x1b[2J'"),
        ('', 'wsss: error: the following arguments are required: COMMAND'),
    ],
)  # fmt: skip
def test_a_mistake_in_a_command_line_is_one_line(
    line: str, said: str, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(sys, 'argv', ['wsss', *line.split(' ')] if line else ['wsss'])
    with pytest.raises(SystemExit) as left:
        main()
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert said in error and error.count('\n') == 1


def test_help_lists_the_formats_of_seeds() -> None:
    """The command lists them itself, since importing them takes seconds."""
    listed = {name: holds for row, holds in FORMATS.items() for name in row.split(', ')}
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
