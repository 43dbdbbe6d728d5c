"""What users download, in miniature and in the real layouts: devkits, SBD, archives."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix
from trees import SIZE, half_mask, save_image

from wsss_plugins.structures import save_label_map

TRAIN = ['2007_000001', '2007_000002']
VAL = ['2008_000003']
SBD_TRAIN = ['2007_000001', '2008_000004']
SBD_VAL = ['2008_000003', '2008_000005']
TRAIN_AUG = ['2007_000001', '2007_000002', '2008_000004', '2008_000005']
TEST = ['2008_000009']
EXTRA = '2009_000007'
"""A photo with boxes only, in no list of segmentation."""


def annotation(names: Iterable[tuple[str, int]]) -> str:
    """XML of VOC: each object has a part, whose name is no class."""
    objects = ''.join(
        f'<object><name>{name}</name><difficult>{hard}</difficult>'
        '<part><name>head</name></part></object>'
        for name, hard in names
    )
    return f'<annotation><filename>a.jpg</filename>{objects}</annotation>'


def make_devkit(root: Path) -> Path:
    """``VOCdevkit/VOC2012`` as VOCtrainval_11-May-2012.tar has it; returns VOC2012."""
    voc = root / 'VOCdevkit/VOC2012'
    lists = voc / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (voc / 'Annotations').mkdir()
    for split, names in dict(train=TRAIN, val=VAL, trainval=TRAIN + VAL).items():
        (lists / f'{split}.txt').write_text(''.join(f'{n}\n' for n in names))
    for i, name in enumerate([*TRAIN_AUG, *VAL, EXTRA]):
        save_image(voc / f'JPEGImages/{name}.jpg', i)
        found = [('dog', 0), ('person', 1)] if i % 2 else [('cat', 0)]
        (voc / f'Annotations/{name}.xml').write_text(annotation(found))
    for i, name in enumerate([*TRAIN, *VAL]):
        save_label_map(voc / f'SegmentationClass/{name}.png', half_mask(8 + i))
        save_label_map(voc / f'SegmentationObject/{name}.png', half_mask(1))
    return voc


def make_test_devkit(root: Path) -> Path:
    """``VOCdevkit/VOC2012`` as VOC2012test.tar has it."""
    voc = root / 'VOCdevkit/VOC2012'
    (voc / 'ImageSets/Segmentation').mkdir(parents=True)
    (voc / 'ImageSets/Segmentation/test.txt').write_text(
        ''.join(f'{n}\n' for n in TEST)
    )
    for name in TEST:
        save_image(voc / f'JPEGImages/{name}.jpg', 77)
    return voc


def sbd_mat(labels: np.ndarray, variable: str = 'GTcls') -> bytes:
    """A file of ``cls/``: MATLAB 5, compressed, with a sparse boundary for each class."""
    cells = np.empty((20, 1), object)
    for c in range(20):
        cells[c, 0] = csc_matrix(labels == c + 1)
    present = np.setdiff1d(np.unique(labels), [0])[:, None]
    found = dict(Boundaries=cells, Segmentation=labels, CategoriesPresent=present)
    file = io.BytesIO()
    savemat(file, {variable: found}, do_compression=True)
    return file.getvalue()


def sbd_mask(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Class ``index + 1`` in the upper rows, never void."""
    labels = np.zeros(size, np.uint8)
    labels[: size[0] // 2] = index + 1
    return labels


def make_sbd(root: Path) -> Path:
    """``benchmark_RELEASE`` as benchmark.tgz has it."""
    dataset = root / 'benchmark_RELEASE/dataset'
    for split, names in dict(train=SBD_TRAIN, val=SBD_VAL).items():
        for folder in ('cls', 'inst', 'img'):
            (dataset / folder).mkdir(parents=True, exist_ok=True)
        (dataset / f'{split}.txt').write_text(''.join(f'{n}\n' for n in names))
    photos = [*TRAIN_AUG, *VAL]  # the very photos of the devkit
    for i, name in enumerate([*SBD_TRAIN, *SBD_VAL]):
        (dataset / f'cls/{name}.mat').write_bytes(sbd_mat(sbd_mask(i)))
        (dataset / f'inst/{name}.mat').write_bytes(sbd_mat(sbd_mask(0), 'GTinst'))
        save_image(dataset / f'img/{name}.jpg', photos.index(name))
    return root / 'benchmark_RELEASE'


def pack_tar(folder: Path, path: Path, mode: str = 'w') -> Path:
    """A tar of a folder under its own name."""
    with tarfile.open(path, mode) as tar:
        tar.add(folder, folder.name)
    return path


def pack_zip(folders: Iterable[Path], path: Path) -> Path:
    """A zip of folders under their own names, with what macOS adds."""
    with zipfile.ZipFile(path, 'w') as archive:
        for folder in folders:
            for file in sorted(folder.rglob('*')):
                name = file.relative_to(folder.parent).as_posix()
                archive.write(file, name)
            archive.writestr(f'__MACOSX/{folder.name}/._a.jpg', b'\0\5\x16\7')
            archive.writestr(f'{folder.name}/._b.jpg', b'\0\5\x16\7')
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    """Keeps only the beginning of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def gzip_again(path: Path, data: bytes) -> Path:
    """Writes bytes through gzip, whole as a gzip file whatever they hold."""
    path.write_bytes(gzip.compress(data))
    return path


def files_of(root: Path) -> dict[str, bytes]:
    """Content of every file below ``root``, links followed, by relative path."""
    paths = sorted(p for p in root.rglob('*') if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in paths}
