"""``wsss init``: the files of a new project, and that they work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_script

from wsss_plugins.command.main import main
from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit

FILES = [
    'README.md',
    'configs/pipeline.py',
    'pyproject.toml',
    'tests/test_heads.py',
    'trial/__init__.py',
    'trial/heads.py',
]


@pytest.fixture
def init(monkeypatch, capsys):
    """Runs ``wsss init``; what it prints and says on leaving."""

    def run(folder: Path) -> str:
        monkeypatch.setattr(sys, 'argv', ['wsss', 'init', str(folder)])
        try:
            main()
        except SystemExit as left:
            assert left.code == 2
        said = capsys.readouterr()
        return said.out + said.err

    return run


def test_files_of_a_project(init, tmp_path: Path) -> None:
    folder = tmp_path / 'a/trial'
    said = init(folder)
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*.*'))
    assert files == FILES
    assert all(str(folder / name) in said for name in FILES)
    assert [p.name for p in folder.parent.iterdir()] == ['trial']
    texts = [(folder / name).read_text('utf-8') for name in FILES]
    assert not any('my_project' in text for text in texts)
    assert 'from trial.heads import SharpenedCAM' in texts[1]
    assert 'trial = "trial.heads"' in texts[2]


def test_what_is_there_stays(init, tmp_path: Path) -> None:
    folder = tmp_path / 'trial'
    folder.mkdir()
    (folder / 'mine.txt').write_text('mine')
    assert init(folder) == f'error: {folder} is there already: name a new folder\n'
    assert [p.name for p in folder.iterdir()] == ['mine.txt']
    (folder / 'mine.txt').unlink()
    assert 'says how to run it' in init(folder), 'an empty folder is taken'


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('my-project', 'cannot be the name of a Python package: use letters, digits'),
        ('class', 'cannot be the name of a Python package'),
        ('torch', "an installed package is called 'torch': choose another name"),
    ],
)
def test_names_that_no_package_can_have(init, tmp_path, name, message) -> None:
    assert message in init(tmp_path / name)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_test_and_the_pipeline_of_a_project_run(init, tmp_path: Path) -> None:
    """The commands of its README, but for the installation."""
    folder = tmp_path / 'trial'
    init(folder)
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider'],
        cwd=folder, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and '2 passed' in done.stdout, done.stdout
    write_devkit(folder / 'data/synthetic', SyntheticSpec(), 4, 2, workers=1)
    commands = re.findall(r'^(wsss run .*)$', (folder / 'README.md').read_text(), re.M)
    assert 'wsss run configs/pipeline.py --dry-run' in commands
    driver = folder / 'driver.py'  # whose folder is on the search path, as if installed
    driver.write_text(
        'import sys\nfrom wsss_plugins.command.main import main\n'
        "sys.argv = ['wsss', 'run', 'configs/pipeline.py', '--dry-run']\nmain()\n"
    )
    done = run_script([driver], folder)
    assert done.returncode == 0, done.stderr
    states = re.findall(r'│ (\w+) +│ SeedStage +│ classifier +│ new', done.stdout)
    assert 'mine' in states and 'cam' in states
