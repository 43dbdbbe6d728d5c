"""Folders and archives, whole, cut off, damaged and malicious."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from archive_trees import gzip_again, pack_tar, pack_zip

from wsss_plugins.datasets.preparation.opening import open_source
from wsss_plugins.datasets.preparation.sources import Pool
from wsss_plugins.errors import DataError

FILES = {f'a/b/{i}.bin': bytes([i]) * (700 * i + 1) for i in range(6)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / 'data' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / 'data'


def message(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        source = open_source(path)
        list(source.members(source.folders))
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('kind', ['w', 'w:gz', 'w:bz2', 'w:xz', 'zip', 'folder'])
def test_all_kinds_read_the_same(folder: Path, tmp_path: Path, kind: str) -> None:
    path = folder
    if kind == 'zip':
        path = pack_zip([folder], tmp_path / 'x.bin')
    elif kind != 'folder':
        path = pack_tar(folder, tmp_path / 'x.bin', kind)
    source = open_source(path)
    (inner,) = source.locate('b')
    wanted = {inner: {'1.bin', '5.bin'}}
    found = {m.name: m.read() for m in source.members(wanted)}
    assert found == {n: FILES[f'a/b/{n}'] for n in wanted[inner]}
    assert source.sizes(wanted) == sum(map(len, found.values()))
    with source.open(inner, '3.bin') as file:
        assert file.read() == FILES['a/b/3.bin']
    linked = {m.path for m in source.members(wanted)}
    assert (linked == {None}) is (kind != 'folder')


@pytest.mark.parametrize('kind', ['w', 'w:gz', 'w:bz2', 'w:xz', 'zip'])
def test_archives_that_were_cut_off_anywhere(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    whole = tmp_path / 'x.bin'
    if kind == 'zip':
        pack_zip([folder], whole)
    else:
        pack_tar(folder, whole, kind)
    data = whole.read_bytes()
    end = len(data)
    if kind == 'w':  # zeros at the end, of which two blocks are what a tar needs
        end = data.rstrip(b'\0').__len__() + 1
    for length in sorted({*np.linspace(300, end - 1, 25).astype(int), end - 1}):
        path = tmp_path / f'cut_{length}.tar'
        path.write_bytes(data[:length])
        assert f'copy or download {path.name} again' in message(path), length


def test_a_tar_cut_off_between_two_files(folder: Path, tmp_path: Path) -> None:
    path = pack_tar(folder, tmp_path / 'x.tar')
    with tarfile.open(path) as tar:
        place = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:place])
    assert 'it does not end as a tar does' in message(path)
    gzip_again(path, path.read_bytes())
    assert 'it does not end as a tar does' in message(path)


def test_a_tar_with_garbage_where_a_header_belongs(
    folder: Path, tmp_path: Path
) -> None:
    path = pack_tar(folder, tmp_path / 'x.tar')
    with tarfile.open(path) as tar:
        place = tar.getmembers()[-2].offset
    data = bytearray(path.read_bytes())
    data[place : place + 512] = b'\x55' * 512
    path.write_bytes(data)
    assert 'it does not end as a tar does' in message(path)


def test_a_zip_with_a_flipped_bit(folder: Path, tmp_path: Path) -> None:
    path = pack_zip([folder], tmp_path / 'x.zip')
    data = bytearray(path.read_bytes())
    data[data.index(FILES['a/b/3.bin']) + 9] ^= 4
    path.write_bytes(data)
    text = message(path)
    assert 'data/a/b/3.bin is cut off or damaged (Bad CRC-32' in text


@pytest.mark.parametrize(
    'name', ['/etc/passwd', '../up.jpg', 'a/../../b.jpg', 'C:/x.jpg', '\\\\host\\x.jpg']
)
def test_names_outside_the_archive(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / 'x.tar', 'w') as tar:
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        archive.writestr(zipfile.ZipInfo(name), b'')
    for path in (tmp_path / 'x.tar', tmp_path / 'x.zip'):
        assert 'which lies outside the archive' in message(path)


@pytest.mark.parametrize(
    'kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    for target in ('/etc/passwd', '../../up.jpg'):
        item = tarfile.TarInfo('JPEGImages/a.jpg')
        item.type, item.linkname = kind, target
        with tarfile.open(tmp_path / 'x.tar', 'w') as tar:
            tar.addfile(item)
        text = message(tmp_path / 'x.tar')
        assert 'a device or a link to the outside: pack the files themselves' in text


def test_links_within_a_tar_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / 'x.tar', 'w') as tar:
        tar.addfile(tarfile.TarInfo('a/b.jpg'), io.BytesIO())
        item = tarfile.TarInfo('a/c.jpg')
        item.type, item.linkname = tarfile.SYMTYPE, 'b.jpg'
        tar.addfile(item)
    assert open_source(tmp_path / 'x.tar').folders == {'a': {'b.jpg'}}


def test_a_zip_with_a_password(folder: Path, tmp_path: Path) -> None:
    path = pack_zip([folder], tmp_path / 'x.zip')
    data = bytearray(path.read_bytes())
    data[data.index(b'PK\x01\x02') + 8] |= 1
    path.write_bytes(data)
    assert 'has a password' in message(path)


def other_files(root: Path) -> dict[str, Path]:
    root.mkdir()
    np.save(root / 'labels.npy', {'a': 1}, allow_pickle=True)
    (root / 'labels.pkl').write_bytes(pickle.dumps({'a': 1}))
    (root / 'page.zip').write_text('<!DOCTYPE html><html>404</html>')
    (root / 'empty.tar').touch()
    (root / 'pointer.tar').write_text('version https://git-lfs.github.com/spec/v1\n')
    (root / 'text.md').write_text('hello')
    (root / 'garbage.tar').write_bytes(b'\x01\x02' * 700)
    return {path.stem: path for path in root.iterdir()}


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('labels', 'is a'),
        ('page', 'a page of HTML or XML, perhaps of a failed download'),
        ('empty', 'an empty file'),
        ('pointer', 'run `git lfs pull`'),
        ('text', 'no folder or archive: give a folder, a tar or a zip'),
        ('garbage', 'is cut off or damaged'),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, words: str) -> None:
    assert words in message(other_files(tmp_path / 'others')[name])


def test_pickles_are_named_and_not_read(tmp_path: Path) -> None:
    root = tmp_path / 'others'
    other_files(root)
    assert 'a pickle, which could run code and is never read' in message(
        root / 'labels.pkl'
    )
    assert 'may hold pickled objects and is not read' in message(root / 'labels.npy')
    torch.save({'a': 1}, root / 'weights.pth')  # a zip: opened, but no member unpickled
    assert open_source(root / 'weights.pth').locate('JPEGImages') == []
    with pytest.raises(DataError, match='nowhere does not exist: correct the path'):
        open_source(tmp_path / 'nowhere')


def test_what_macos_and_killed_runs_leave_is_no_content(tmp_path: Path) -> None:
    for name in ('._a.jpg', '.DS_Store', '.a.123.part.jpg', 'a.jpg', '__MACOSX/b.jpg'):
        path = tmp_path / 'train2014' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert open_source(tmp_path).folders == {'train2014': {'a.jpg'}}
    assert open_source(tmp_path / 'train2014').locate('train2014') == ['']


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/x.jpg').touch()
    (tmp_path / 'a/up').symlink_to(tmp_path)
    assert set(open_source(tmp_path).folders) == {'a'}


def test_of_two_files_of_one_name_the_last_source_counts(
    folder: Path, tmp_path: Path
) -> None:
    archive = pack_zip([folder], tmp_path / 'x.zip')
    mended = tmp_path / 'mended/a/b/3.bin'
    mended.parent.mkdir(parents=True)
    mended.write_bytes(b'whole')
    pool = Pool(open_source(path) for path in (archive, tmp_path / 'mended'))
    files = pool.files('b')
    found = {m.name: m.read() for m in pool.members(pool.wanted(files, files))}
    assert found['3.bin'] == b'whole' and found['2.bin'] == FILES['a/b/2.bin']
    assert len(found) == len(FILES)
