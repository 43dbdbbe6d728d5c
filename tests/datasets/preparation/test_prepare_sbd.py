"""SBD alone, and masks of other kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archive_trees import (
    SBD_TRAIN,
    SBD_VAL,
    cut,
    files_of,
    make_sbd,
    pack_tar,
    sbd_mask,
    sbd_mat,
)
from PIL import Image
from scipy.io import loadmat
from trees import SIZE, half_mask

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.coco14 import COCO_CATEGORIES
from wsss_plugins.datasets.preparation import convert_masks, prepare_sbd
from wsss_plugins.datasets.preparation.pictures import (
    decode_mask,
    labels_of_category_ids,
    labels_of_colours,
)
from wsss_plugins.datasets.preparation.sbd import read_sbd_mask
from wsss_plugins.errors import DataError
from wsss_plugins.structures import load_label_map, save_label_map, voc_palette


@pytest.fixture
def sbd(tmp_path: Path) -> Path:
    return make_sbd(tmp_path / 'given')


def refused(sbd: Path, out: Path, **options) -> str:
    with pytest.raises(DataError) as caught:
        prepare_sbd([sbd], out, **(dict(any_count=True) | options))
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_the_miniature_has_the_structure_of_the_real_files(sbd: Path) -> None:
    """Struct of three fields, 20 sparse boundaries, as published."""
    path = sbd / f'dataset/cls/{SBD_TRAIN[1]}.mat'
    assert path.read_bytes().startswith(b'MATLAB 5.0 MAT-file')
    found = loadmat(path)['GTcls']
    assert found.shape == (1, 1)
    assert found.dtype.names == ('Boundaries', 'Segmentation', 'CategoriesPresent')
    assert found['Boundaries'][0, 0].shape == (20, 1)
    assert found['Boundaries'][0, 0][1, 0].toarray().any()
    assert found['CategoriesPresent'][0, 0].tolist() == [[2]]


def test_masks_are_read_as_they_were_written() -> None:
    labels = np.random.default_rng(0).integers(0, 21, (7, 13)).astype(np.uint8)
    np.testing.assert_array_equal(read_sbd_mask(sbd_mat(labels), 'x'), labels)


def test_folder_and_archive(sbd: Path, tmp_path: Path) -> None:
    done = prepare_sbd([sbd], tmp_path / 'out', any_count=True)
    assert done.counts == dict(train=2, val=2)
    for i, name in enumerate([*SBD_TRAIN, *SBD_VAL]):
        found = load_label_map(done.root / f'SegmentationClass/{name}.png', 21)
        np.testing.assert_array_equal(found, sbd_mask(i))
    dataset = VOC12(done.root, 'val', labels='masks', test_mode=True)
    assert dataset.ids == SBD_VAL
    assert dataset.labels(1).nonzero()[0].tolist() == [3]
    tgz = pack_tar(sbd, tmp_path / 'benchmark.tgz', 'w:gz')
    archived = prepare_sbd([tgz], tmp_path / 'archived', any_count=True)
    expected, found = files_of(done.root), files_of(archived.root)
    assert found.pop('prepared.json') != expected.pop('prepared.json')
    assert found == expected
    assert not prepare_sbd([tgz], tmp_path / 'archived', any_count=True).fresh


def test_without_photos(sbd: Path, tmp_path: Path) -> None:
    for path in (sbd / 'dataset/img').iterdir():
        path.unlink()
    done = prepare_sbd([sbd], tmp_path / 'out', any_count=True)
    assert not (done.root / 'JPEGImages').exists()


def test_bad_input(sbd: Path, tmp_path: Path) -> None:
    out = tmp_path / 'out'
    text = refused(sbd, out, any_count=False)
    assert text.startswith('train.txt of SBD has 2 images, the official one 8,498')
    (sbd / f'dataset/cls/{SBD_VAL[1]}.mat').unlink()
    assert f'masks of val.txt are missing, the first is {SBD_VAL[1]}' in refused(
        sbd, out
    )
    (sbd / 'dataset/val.txt').unlink()
    assert f'{sbd} has no val.txt in dataset' in refused(sbd, out)
    tgz = cut(pack_tar(sbd, tmp_path / 'benchmark.tgz', 'w:gz'))
    assert f'{tgz} is cut off or damaged' in refused(tgz, out)
    assert 'has no masks of SBD' in refused(
        tmp_path / 'given/benchmark_RELEASE/dataset/img', out
    )
    assert not out.exists()


# Masks of other kinds ------------------------------------------------------------------


def test_every_colour_of_the_palette_is_its_index() -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(8, 32)
    found = labels_of_colours(voc_palette()[indices], 'x')
    np.testing.assert_array_equal(found, indices)
    assert tuple(voc_palette()[255]) == (224, 224, 192)
    with pytest.raises(
        DataError, match=r'colour \(0, 0, 1\) at row 1, column 2, which'
    ):
        image = np.zeros((3, 4, 3), np.uint8)
        image[1, 2, 2] = 1
        labels_of_colours(image, 'x')


def test_category_ids_become_labels() -> None:
    categories = list(COCO_CATEGORIES)
    ids = np.array([[0, 255, *categories]], np.uint8)
    found = labels_of_category_ids(ids, 'x')
    assert found.tolist() == [[0, 255, *range(1, 81)]]
    for gap in sorted(set(range(1, 255)) - set(categories)):
        with pytest.raises(
            DataError, match=f'the value {gap}, which is no category id'
        ):
            labels_of_category_ids(np.full((2, 3), gap, np.uint8), 'x')


@pytest.mark.parametrize('mode', ['P', 'L', 'I;16'])
def test_masks_of_indices_in_any_mode(tmp_path: Path, mode: str) -> None:
    path, mask = tmp_path / 'x.png', half_mask(7)
    if mode == 'P':
        save_label_map(path, mask)
    else:
        kind = np.uint8 if mode == 'L' else np.uint16
        Image.fromarray(mask.astype(kind)).save(path)
    found = decode_mask(path.read_bytes(), 'x')
    assert not found.coloured
    np.testing.assert_array_equal(found.labels, mask)
    if mode == 'I;16':
        Image.fromarray(np.full(SIZE, 300, np.uint16)).save(path)
        with pytest.raises(DataError, match='the value 300: masks have 0 to 255'):
            decode_mask(path.read_bytes(), 'x')


def test_convert_masks(tmp_path: Path) -> None:
    colours, ids = tmp_path / 'colours', tmp_path / 'ids'
    for folder in (colours, ids):
        folder.mkdir()
    for i in range(3):
        Image.fromarray(voc_palette()[half_mask(i)]).save(colours / f'{i}.png')
        Image.fromarray(half_mask(13 + i)).save(ids / f'{i}.png')
    (ids / '._0.png').write_bytes(b'\0')
    assert convert_masks(colours, tmp_path / 'a', 'colours') == 3
    assert convert_masks(ids, tmp_path / 'b', 'category-ids') == 3
    for i in range(3):
        np.testing.assert_array_equal(
            load_label_map(tmp_path / f'a/{i}.png'), half_mask(i)
        )
        # 13 is the stop sign, the 12th category.
        found = load_label_map(tmp_path / f'b/{i}.png')
        np.testing.assert_array_equal(found, half_mask(12 + i))
    with pytest.raises(DataError, match='is the folder of the masks: choose another'):
        convert_masks(ids, ids / '../ids', 'category-ids')
    with pytest.raises(DataError, match='has no PNG files'):
        convert_masks(tmp_path, tmp_path / 'c', 'colours')
