"""What a mistake of a user prints: one line with what was given and what to do, exit code 2."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from wsss_plugins.command.main import main
from wsss_plugins.datasets.preparation import download


@pytest.fixture
def say(monkeypatch, capfd, tmp_path: Path):
    """Runs a command in an empty folder, where it must fail; its one line."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> str:
        monkeypatch.setattr(sys, 'argv', ['wsss', *line.split()])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        said = capfd.readouterr()
        assert left.value.code == 2, said
        assert said.out == '' and said.err.startswith('error: '), said
        assert said.err.count('\n') == 1, said.err
        return said.err.removeprefix('error: ').rstrip()

    return run


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('train acr/sinthetic', "does not exist: did you mean 'acr/synthetic'?"),
        ('test acr/sinthetic a.pth', "does not exist: did you mean 'acr/synthetic'?"),
        ('run acr/vocpipeline', "does not exist: did you mean 'acr/voc_pipeline'?"),
        ('matrix matrix/sinthetic', "does not exist: did you mean 'matrix/synthetic'?"),
        ('export acr/sinthetic --out a.pth --supervision x', 'does not exist: did you'),
        ('table work', 'work holds no results'),
        ('errors work', 'work is no folder: name that of a stage'),
        ('diff work other', 'work holds no finished stage (record.json): name a work dir'),
        ('board work', 'work is no folder: name one that has work dirs'),
        ('convert in out --from inr --to wsss', "'inr'"),
        ('doctor nowhere', 'nowhere'),
        ('list configs nowhere', 'nowhere holds no config: name a folder of configs'),
        ('list vits vit_bas_patch16_224', "did you mean 'vit_base_patch16_224'?"),
    ],
)  # fmt: skip
def test_a_name_that_nothing_has(line: str, said: str, say) -> None:
    assert said in say(line)


def test_a_folder_that_is_no_work_dir(say, tmp_path: Path) -> None:
    for name in ('one', 'other'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'notes.txt').write_text('mine')
    assert say('diff one other').startswith(
        f'{tmp_path / "one"} holds no finished stage'
    )
    assert not (tmp_path / 'diff.html').exists()


def test_a_port_that_is_taken(say, tmp_path: Path) -> None:
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
        assert say(f'board {tmp_path} --port {port}') == (
            f'port {port} of 127.0.0.1 cannot be used ([Errno 98] Address already in use): '
            'choose another with --port'
        )


def test_a_host_that_is_not_there_or_is_silent(say, monkeypatch) -> None:
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(download, 'SECONDS', 0.2)
    with socket.create_server(('127.0.0.1', 0)) as silent:
        mirror = f'http://127.0.0.1:{silent.getsockname()[1]}'
        line = f'prepare voc12 --download --from {mirror}'
        assert say(line).startswith(
            f'{mirror}/VOCtrainval_11-May-2012.tar cannot be fetched (timed out): give the '
            'same command again, which goes on where it stopped, or get it from http'
        )
    assert 'cannot be fetched ([Errno 111] Connection refused): give the' in say(line)
