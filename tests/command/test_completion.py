"""``wsss completion``: the script, and what bash completes with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wsss_plugins.command.main import main

RELEASED = ['acr/voc_released', 'acr/voc_released_pipeline']
COMPLETE = """
source {script}
COMP_WORDS=({words} '')
COMP_CWORD={at}
COMP_WORDS[{at}]='{begun}'
COMP_LINE="${{COMP_WORDS[*]}}"
$(complete -p wsss | sed -E 's/.*-F ([^ ]+).*/\\1/') wsss '{begun}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def script_of(shell: str, monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, 'argv', ['wsss', 'completion', shell])
    main()
    return capsys.readouterr().out


@pytest.fixture
def completed(tmp_path: Path, monkeypatch, capsys):
    """What bash offers for the last word of a command line."""
    pytest.importorskip('shtab')
    if not shutil.which('bash'):
        pytest.skip('there is no bash')
    script = tmp_path / 'wsss.bash'
    script.write_text(script_of('bash', monkeypatch, capsys))

    def ask(*words: str, begun: str) -> list[str]:
        text = COMPLETE.format(
            script=script, words=' '.join(words), at=len(words), begun=begun
        )
        done = subprocess.run(
            ['bash', '-c', text], cwd=tmp_path, capture_output=True, text=True
        )
        assert not done.stderr
        return done.stdout.split()

    return ask


def test_commands_options_and_configs_are_completed(completed) -> None:
    assert set(completed('wsss', begun='t')) == {'train', 'test', 'table'}
    assert completed('wsss', 'run', begun='--dry') == ['--dry-run']
    assert completed('wsss', 'run', begun='acr/voc_rel') == RELEASED
    assert 'voc12' in completed('wsss', 'prepare', begun='v')


@pytest.mark.parametrize('shell', ['zsh', 'tcsh'])
def test_scripts_of_other_shells(shell: str, monkeypatch, capsys) -> None:
    pytest.importorskip('shtab')
    script = script_of(shell, monkeypatch, capsys)
    assert 'wsss' in script and 'matrix' in script
    assert ('acr/synthetic_pipeline' in script) == (shell == 'zsh')


def test_what_makes_the_script_is_named(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, 'shtab', None)
    with pytest.raises(SystemExit):
        script_of('bash', monkeypatch, capsys)
    assert capsys.readouterr().err == (
        'error: shtab makes the script and is not installed: run `pip install shtab`\n'
    )
