"""A look before work: what data sets have, what is refused, and what is only named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imagenet_trees import TENCH, make_imagenet_seg
from PIL import Image

from wsss_plugins.datasets import FolderWSSS, ImageNetSeg
from wsss_plugins.datasets.look import Look, Looks
from wsss_plugins.doctor import examine
from wsss_plugins.errors import DataError
from wsss_plugins.experiment.data_look import look_at_data, refuse_problems

PAGE = Path(__file__).parents[2] / 'docs/how-to/bring_your_own_data.md'
MASKS = dict(label_maps='masks', only_with_maps=True, test_mode=True)


def photo(path: Path, seed: int, **save: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 12, 3), np.uint8)
    Image.fromarray(pixels).save(path, **save)


def mask(path: Path, value: int, size: tuple[int, int] = (8, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    label = np.zeros(size, np.uint8)
    label[2:5, 2:5] = value
    Image.fromarray(label).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four photos: a and b show a bird, b and c a nest; d is of val and has no tags."""
    table = 'file,tags,split\na.jpg,bird,train\nb.jpg,bird;nest,train\n'
    (tmp_path / 'photos.csv').write_text(table + 'c.jpg,nest,train\nd.jpg,,val\n')
    for i, name in enumerate('abcd'):
        photo(tmp_path / f'images/{name}.jpg', i)
    return tmp_path


def look(
    root: Path, split: str = 'all', everything: bool = False, **given: Any
) -> Look:
    return Looks(everything)(FolderWSSS(root, split, **given))


def healthy(root: Path) -> bool:
    """What the doctor says of the data alone."""
    reports = [r for r in examine([root]).reports if r.place != 'environment']
    return not any(f.problem for r in reports for f in r.findings)


def test_what_a_data_set_has(root: Path) -> None:
    mask(root / 'masks/a.png', 1)
    found = look(root, 'train')
    assert (found.photos, found.untagged, found.masks) == (3, 0, None)
    assert found.classes == {'bird': 2, 'nest': 2}
    assert found.lines() == [
        f'{root} train: 3 photos, 0 without tags; photos by class: bird 2, nest 2'
    ]
    assert look(root, **MASKS).masks == 1
    assert healthy(root)


def test_a_validation_without_tags_is_named_before_training(root: Path) -> None:
    found = look(root, 'val')
    assert 'none of the 1 photos shows a class' in found.doubts[0]
    assert not found.problems


def test_a_mask_of_the_unturned_photo_is_refused(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(root / 'images/a.jpg', 0, exif=exif)
    mask(root / 'masks/a.png', 1)
    config = dict(
        dataset=dict(type=FolderWSSS, data_root=str(root), split='all', **MASKS)
    )
    with pytest.raises(
        DataError, match=r'a\.png is 8 x 12 and its photo 12 x 8 .*EXIF'
    ):
        refuse_problems(look_at_data([config]))
    assert not healthy(root)


@pytest.mark.parametrize(
    ('size', 'value', 'part'),
    [
        (
            (9, 12),
            1,
            'is 9 x 12 and its photo 8 x 12 (H x W): a mask must have the size',
        ),
        ((8, 12), 3, 'has the value 3: allowed are 0 to 2'),
    ],
)
def test_masks_that_fail_later_are_refused(
    root: Path, size: tuple[int, int], value: int, part: str
) -> None:
    mask(root / 'masks/a.png', value, size)
    assert part in look(root, **MASKS).problems[0]
    assert not healthy(root)


def test_masks_that_contradict_tags_are_doubted(root: Path) -> None:
    mask(root / 'masks/a.png', 2)
    found = look(root, **MASKS)
    assert not found.problems
    assert (
        'a mask shows a class that is no tag of its photo: a (nest)' in found.doubts[0]
    )
    assert 'a tag that its mask does not show: a (bird)' in found.doubts[1]


@pytest.mark.parametrize('name', ['a.gif', 'a.tif', 'a.png'])
def test_pages_and_frames_that_are_not_read_are_named(root: Path, name: str) -> None:
    (root / 'images/a.jpg').unlink()
    pages = [Image.new('RGB', (12, 8), (9 * i, 40, 80)) for i in range(3)]
    path = root / 'images' / name
    pages[0].save(path, save_all=True, append_images=pages[1:])
    said = ' '.join(look(root).doubts)
    assert f'1 photo with several pages or frames ({name}): only the first is' in said
    pages[0].save(path)
    assert 'several pages' not in ' '.join(look(root).doubts)


def test_names_that_belong_to_nothing(root: Path) -> None:
    mask(root / 'masks/a.png', 1)
    mask(root / 'masks/e_mask.png', 1)
    photo(root / 'masks/b.jpg', 9)
    photo(root / 'images/extra.jpg', 8)
    said = ' '.join(look(root, **MASKS).doubts)
    assert '1 photos are in no table: extra.jpg' in said
    assert 'belong to no photo, by their names: e_mask.png' in said
    assert 'are no PNG, and so no masks: b.jpg' in said


def test_photos_without_contrast_twins_and_broken_ones(root: Path) -> None:
    Image.new('RGB', (12, 8), (255, 255, 255)).save(root / 'images/a.jpg')
    (root / 'images/c.jpg').write_bytes((root / 'images/b.jpg').read_bytes())
    (root / 'images/d.jpg').write_bytes(b'no picture')
    said = ' '.join(look(root).doubts)
    assert '1 photo that cannot be read (d.jpg)' in said
    assert '1 photo with one value everywhere (a.jpg)' in said
    assert '2 photos have the same content (b.jpg, c.jpg)' in said


def test_everything_is_read_when_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('wsss_plugins.datasets.look.CONTENTS', 2)
    Image.new('RGB', (12, 8)).save(root / 'images/b.jpg')
    assert not look(root).doubts, 'the first and the last photo are the sample'
    assert 'one value everywhere (b.jpg)' in look(root, everything=True).doubts[0]


EXAMPLE = re.search(r'```text\n(file,tags\n.*?)```', PAGE.read_text('utf-8'), re.S)
FIRST = EXAMPLE[1] if EXAMPLE else ''
TABLES = {
    'as printed': FIRST.encode(),
    'pipes': FIRST.replace(';', '|').encode(),
    'commas in a cell': FIRST.replace('bird;nest', '"bird,nest"').encode(),
    'semicolons': FIRST.replace(';', '|').replace(',', ';').encode(),
    'tabs': FIRST.replace(',', '\t').encode(),
    'Excel': FIRST.replace('bird', 'Möwe').replace('\n', '\r\n').encode('cp1252'),
    'Unicode text': FIRST.encode('utf-16'),
    'columns': b'file,bird,nest\n1/IMG_1,1,\nday 1/img_2.jpg,x,1\nday 1/IMG_3,0,0\n',
}


@pytest.mark.parametrize('form', TABLES)
def test_every_table_of_the_manual(tmp_path: Path, form: str) -> None:
    assert FIRST.count('\n') == 4
    for i in (1, 2, 3):
        photo(tmp_path / f'images/day 1/IMG_{i}.JPG', i)
    (tmp_path / 'photos.csv').write_bytes(TABLES[form].replace(b'\n1/', b'\nday 1/'))
    dataset = FolderWSSS(tmp_path, 'all')
    assert dataset.ids == [f'day 1/IMG_{i}' for i in (1, 2, 3)]
    assert [int(dataset.labels(i).sum()) for i in range(3)] == [1, 2, 0]
    config = dict(dataset=dict(type=FolderWSSS, data_root=str(tmp_path), split='all'))
    (found,) = look_at_data([config])
    assert not found.problems and not found.doubts
    assert list(found.classes.values()) in ([2, 1], [1, 2]) and found.untagged == 1
    assert healthy(tmp_path)


def test_images_within_one_file_are_read_and_compared_with_their_masks(
    tmp_path: Path,
) -> None:
    wide = np.ones((6, 10), np.uint8)
    names = {name: TENCH for name in 'abcd'}
    make_imagenet_seg(tmp_path / 'gtsegs_ijcv.mat', names, dict(b=wide), size=(5, 7))
    found = Looks()(ImageNetSeg(tmp_path, label_maps='gt', test_mode=True))
    assert (found.photos, found.masks, found.doubts) == (4, 4, ())
    assert found.problems == (
        f"{tmp_path}/gtsegs_ijcv.mat: the mask of 'b' is 6 x 10 and its photo 5 x 7 "
        '(H x W): download the file anew',
    )
    assert Looks()(ImageNetSeg(tmp_path)).problems == (), 'no mask is asked for'
