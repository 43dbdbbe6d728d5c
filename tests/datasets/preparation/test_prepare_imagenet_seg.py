"""gtsegs_ijcv.mat, checked and linked to."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from archive_trees import cut
from imagenet_trees import GOLDFISH, SHARK, TENCH, make_imagenet_seg
from scipy.io import savemat

from wsss_plugins.datasets import ImageNetSeg
from wsss_plugins.datasets.preparation import prepare_imagenet_seg
from wsss_plugins.errors import DataError

TARGETS = dict(a=TENCH, b=GOLDFISH, c=SHARK, d=TENCH)


@pytest.fixture
def mat(tmp_path: Path) -> Path:
    path = tmp_path / 'given/gtsegs_ijcv.mat'
    make_imagenet_seg(path, TARGETS)
    return path


def refused(source: Path, out: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        prepare_imagenet_seg(source, out, **(dict(any_count=True) | options))
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_linked_or_copied(mat: Path, tmp_path: Path) -> None:
    done = prepare_imagenet_seg(mat.parent, tmp_path / 'out', any_count=True)
    assert done.counts == dict(images=4, classes=3)
    assert (done.root / mat.name).readlink() == mat
    assert len(ImageNetSeg(done.root)) == 4
    copied = prepare_imagenet_seg(mat, tmp_path / 'copy', copy=True, any_count=True)
    assert not (copied.root / mat.name).is_symlink()
    assert (copied.root / mat.name).read_bytes() == mat.read_bytes()
    sums = [(r.root / 'checksums.sha256').read_text() for r in (done, copied)]
    assert sums[0] == sums[1]


def test_in_place(mat: Path) -> None:
    done = prepare_imagenet_seg(mat, mat.parent, any_count=True)
    assert done.root == mat.parent and not mat.is_symlink()


def test_official_counts(mat: Path, tmp_path: Path) -> None:
    text = refused(mat, tmp_path / 'out', any_count=False)
    assert 'has 4 images, the official one 4,276' in text
    assert not (tmp_path / 'out').exists()


def test_bad_files(mat: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    old = tmp_path / 'old.mat'
    savemat(old, dict(value=np.zeros(3)))
    assert 'is a file of MATLAB 5, not MATLAB 7.3 (HDF5)' in refused(old, out)
    assert 'does not exist: correct the path' in refused(tmp_path / 'no.mat', out)
    with h5py.File(mat, 'r+') as file:
        reference = file['value/gt'][2, 0]
        inner = file[file[reference][0, 0]]
        name = inner.name
        del file[name]
        file[name] = np.ones((4, 4), np.uint8)
        file[reference][0, 0] = file[name].ref
    assert "the mask of 'c' is (4, 4), its image (6, 10) (H, W)" in refused(mat, out)
    cut(mat)
    assert 'is no whole HDF5 file' in refused(mat, out)
    assert not out.exists()
