"""The package as others install it: from a wheel, in an environment and a folder of its own.

The packages that it needs are those of the environment of the tests, which a .pth file puts
on the search path of the new one, so that torch is not downloaded again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import tiny
from packaging.version import Version

import wsss_plugins
from wsss_plugins.config_files import config_names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        Version(version('setuptools')) < Version('70.1'),
        reason='setuptools 70.1 or newer builds wheels without a network',
    ),
]
OF_SDIST = ('setup.py', 'tools/train.py', 'requirements/runtime.txt', 'NOTICE')


def call(*command: object, cwd: Path) -> str:
    """What a command prints, in an environment that knows nothing of the checkout."""
    env = {
        k: v for k, v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env=env | {'OMP_NUM_THREADS': '1'}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist of what git tracks, and the wheel that pip makes of this sdist."""
    base = tmp_path_factory.mktemp('build')
    listed = subprocess.check_output(['git', 'ls-files'], cwd=tiny.ROOT, text=True)
    for name in listed.splitlines():
        (base / 'tree' / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny.ROOT / name, base / 'tree' / name, follow_symlinks=False)
    code = f'from setuptools import build_meta as b; b.build_sdist({str(base)!r})'
    call(sys.executable, '-c', code, cwd=base / 'tree')
    (sdist,) = base.glob('*.tar.gz')
    pip = [sys.executable, '-m', 'pip']
    options = ['--no-deps', '--no-build-isolation', '--wheel-dir', base]
    call(*pip, 'wheel', *options, sdist, cwd=base)
    (wheel,) = base.glob('*.whl')
    return dict(sdist=sdist, wheel=wheel)


@pytest.fixture(scope='module')
def wsss(archives, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs ``wsss`` of a new environment in an empty folder; what it prints."""
    base = tmp_path_factory.mktemp('installed')
    call(sys.executable, '-m', 'venv', '--without-pip', base / 'venv', cwd=base)
    python = base / 'venv/bin/python'
    install = ['install', '--no-deps', '--force-reinstall', archives['wheel']]
    call(sys.executable, '-m', 'pip', '--python', python, *install, cwd=base)
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(call(python, '-c', ask, cwd=base).strip())
    others = [path for path in sys.path if Path(path).name.endswith('-packages')]
    (own / 'others.pth').write_text('\n'.join(others))
    place = 'import wsss_plugins; print(wsss_plugins.__file__)'
    assert Path(call(python, '-c', place, cwd=base).strip()).is_relative_to(own)
    (base / 'work').mkdir()

    def run(*words: object) -> str:
        return call(base / 'venv/bin/wsss', *words, cwd=base / 'work')

    run.folder, run.python = base / 'work', python
    return run


def test_the_archives_hold_everything(archives) -> None:
    with zipfile.ZipFile(archives['wheel']) as wheel:
        names = set(wheel.namelist())
    for name in config_names():
        assert f'wsss_plugins/configs/{name}.py' in names
    for name in ('py.typed', 'engine/revisions.json', 'command/project/pyproject.toml'):
        assert f'wsss_plugins/{name}' in names
    roots = {name.split('/')[0] for name in names if '.dist-info' not in name}
    assert roots == {'wsss_plugins'}
    with tarfile.open(archives['sdist']) as sdist:
        given = {name.partition('/')[2] for name in sdist.getnames()}
    assert given >= {*OF_SDIST, 'wsss_plugins/configs/acr/voc.py'}


def test_help_and_lists(wsss) -> None:
    assert wsss('--version').split() == ['wsss_plugins', wsss_plugins.__version__]
    names = [line.split()[0] for line in wsss('list', 'configs').splitlines()]
    assert names == config_names()


def test_the_pipeline_in_miniature(wsss) -> None:
    """From nothing to a report, in an empty folder."""
    wsss(
        'prepare', 'synthetic', '--out', 'data/synthetic', '--size', 32, 40,
        '--train', 24, '--val', 12,
    )  # fmt: skip
    options = ['--cfg-options', *tiny.small_pipeline()]
    said = wsss('run', 'acr/synthetic_pipeline', *options)
    found = re.search(r'^report: (.*)$', said, re.MULTILINE)
    assert found and found[1].startswith('work_dirs/acr/synthetic_pipeline/')
    assert (wsss.folder / found[1]).is_file()
    table = wsss('table', 'work_dirs/acr/synthetic_pipeline', '--stage', 'cam_score')
    assert 'cam_score' in table


def test_a_project_is_installed_and_found(wsss) -> None:
    """Its head is found by name, by way of the entry point."""
    wsss('init', 'trial')
    install = ['install', '--no-deps', '--no-build-isolation', './trial']
    pip = [sys.executable, '-m', 'pip', '--python', wsss.python]
    call(*pip, *install, cwd=wsss.folder)
    (head,) = [line for line in wsss('list', 'plugins').splitlines() if 'Sharp' in line]
    assert head.endswith('[trial.heads]')
