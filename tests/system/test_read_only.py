"""Folders that cannot be written to are refused in one line before any work."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tiny
import torch
from trees import make_folder, save_image

from wsss_plugins.errors import UserError, require_writable

MATRIX = tiny.ROOT / 'configs/matrix/synthetic.py'


@pytest.fixture
def locked(tmp_path: Path, monkeypatch) -> Path:
    """A folder on a file system that is read-only, as far as this process can tell."""
    folder = tmp_path / 'locked'
    folder.mkdir()
    make, touch = os.mkdir, tempfile.TemporaryFile

    def refuse(path: object) -> None:
        if str(path).startswith(str(folder)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def mkdir(path, *arguments, **options):
        refuse(path)
        return make(path, *arguments, **options)

    def temporary(*arguments, dir=None, **options):
        refuse(dir)
        return touch(*arguments, dir=dir, **options)

    monkeypatch.setattr(os, 'mkdir', mkdir)
    monkeypatch.setattr(tempfile, 'TemporaryFile', temporary)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / 'photos', [('a.png', 'cat'), ('b.png', 'dog')])


def commands(tmp: Path, out: Path, data_root: Path) -> dict[str, list[object]]:
    """What each tool writes, in a folder below ``out``, and the files it needs."""
    torch.save({}, tmp / 'weights.pth')
    save_image(tmp / 'photo.jpg')
    (tmp / 'seeds').mkdir()
    config, *options = tiny.train(data_root, out / 'work')
    data = ['--data-root', data_root]
    work = ['--work-dir', out / 'work']
    return {
        'train.py': [config, *options],
        'test.py': [config, tmp / 'weights.pth', '--multi-scale', *data, *work],
        'run_pipeline.py': tiny.arguments(data_root, out / 'work'),
        'run_matrix.py': [MATRIX, *data, *work],
        'explain.py': [tmp / 'photo.jpg', '--model', tmp, '--out', out / 'work'],
        'convert_seeds.py': [tmp / 'seeds', out / 'work', '--from', 'wsss', '--to', 'irn'],
        'doctor.py': [data_root, '--json', out / 'work/doctor.json'],
        'export_weights.py': [
            config, '--out', out / 'work/a.safetensors', '--supervision', 'x',
        ],
    }  # fmt: skip


TOOLS = (
    'train.py', 'test.py', 'run_pipeline.py', 'run_matrix.py', 'explain.py',
    'convert_seeds.py', 'doctor.py', 'export_weights.py',
)  # fmt: skip


@pytest.mark.parametrize('tool', TOOLS)
def test_each_tool_says_so_first(
    tool: str, locked: Path, data_root: Path, tmp_path: Path, refused, monkeypatch
) -> None:
    words = commands(tmp_path, locked, data_root)[tool]

    def work(*_: object, **__: object) -> None:
        pytest.fail('data was hashed before the folder was tried')

    monkeypatch.setattr('wsss_plugins.engine.contents.ContentIndex.content', work)
    message = refused(tool, *words)
    assert message.startswith(f'{locked / "work"} cannot be written, its file system')
    assert message.endswith('choose another folder (--work-dir or --out)')


def test_nothing_stays_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / 'a/b/c')
    require_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='a part of its path is a file'):
        require_writable(tmp_path / 'file/work')


def test_a_real_file_system_that_is_read_only(tmp_path: Path) -> None:
    """Where this machine lets a test mount one."""
    place = tmp_path / 'mounted'
    place.mkdir()
    code = (
        'from wsss_plugins.errors import UserError, require_writable\n'
        f'try: require_writable({str(place / "work")!r})\n'
        'except UserError as error: print(error)\n'
    )
    mount = f'mount -t tmpfs -o ro none {place} || exit 77; exec "$@"'
    command = ['unshare', '-m', 'sh', '-c', mount, 'sh', sys.executable, '-c', code]
    try:
        done = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip('there is no unshare')
    if done.returncode:
        pytest.skip('nothing can be mounted here')
    assert done.stdout.startswith(
        f'{place / "work"} cannot be written, its file system'
    )
