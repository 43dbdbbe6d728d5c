"""Masks are found by the names that people give them; the others are named."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsss_plugins.datasets import FolderWSSS
from wsss_plugins.datasets.mask_files import MaskFiles
from wsss_plugins.datasets.photo_files import PhotoFiles
from wsss_plugins.errors import DataError

MASKS = dict(label_maps='masks', test_mode=True)


def make(root: Path, photos: list[str], masks: list[str]) -> Path:
    """Photos that all show a bird; mask i has the class in its first i + 1 columns."""
    for name in photos:
        path = root / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 8, 3), np.uint8)).save(path)
    for i, name in enumerate(masks):
        path = root / 'masks' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        label = np.zeros((4, 8), np.uint8)
        label[:, : i + 1] = 1
        Image.fromarray(label).save(path, 'PNG')
    rows = ''.join(f'{name},bird\n' for name in photos)
    (root / 'photos.csv').write_text('file,tags\n' + rows, 'utf-8')
    return root


def test_masks_are_found_as_photos_are(tmp_path: Path) -> None:
    umlaut = unicodedata.normalize('NFD', 'Möwe')
    photos = ['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'Möwe.jpg', 'e.jpg', 'f.jpg']
    masks = ['a.png', 'b.PNG', 'c.jpg.png', 'D.png', f'{umlaut}.png', 'e_mask.png']
    root = make(tmp_path, photos, masks)
    dataset = FolderWSSS(root, 'all', only_with_maps=True, **MASKS)
    assert dataset.ids == ['a', 'b', 'c', 'd', 'Möwe']
    for i in range(5):
        assert (dataset.load_mask(i) == 1).sum() == 4 * (i + 1)
    found = MaskFiles(root / 'masks', PhotoFiles(root / 'images'))
    assert found.strangers == ['e_mask.png']
    with pytest.raises(DataError, match=r'label map .*e\.png \(and 1 more\) does not'):
        FolderWSSS(root, 'all', **MASKS)


def test_a_mask_is_of_one_photo_only(tmp_path: Path) -> None:
    root = make(tmp_path, ['x/1.jpg', 'y/1.jpg'], ['1.png'])
    with pytest.raises(DataError, match=r'may belong to several photos \(x/1.jpg, y/1'):
        FolderWSSS(root, 'all', only_with_maps=True, **MASKS)


def test_a_mask_of_another_folder_is_of_no_photo(tmp_path: Path) -> None:
    root = make(tmp_path, ['x/1.jpg', 'x/2.jpg'], ['y/1.png', '2.png'])
    dataset = FolderWSSS(root, 'all', only_with_maps=True, **MASKS)
    assert dataset.ids == ['x/2']
    assert MaskFiles(root / 'masks', PhotoFiles(root / 'images')).strangers == [
        'y/1.png'
    ]


def test_two_masks_of_a_photo_are_refused(tmp_path: Path) -> None:
    root = make(tmp_path, ['a.jpg'], ['A.png', 'a.jpg.png'])
    with pytest.raises(DataError, match=r'a\.jpg has several masks .*: keep one'):
        FolderWSSS(root, 'all', **MASKS)


def test_dots_and_suffixes_of_masks(tmp_path: Path) -> None:
    root = make(
        tmp_path, ['plot_1.jpg', 'plot_1.5.jpg'], ['plot_1.5.PNG', 'plot_1.JPG.png']
    )
    dataset = FolderWSSS(root, 'all', **MASKS)
    found = dict(zip(dataset.ids, map(dataset.load_mask, range(2)), strict=True))
    assert {name: (mask == 1).sum() for name, mask in found.items()} == {
        'plot_1.5': 4,
        'plot_1': 8,
    }
