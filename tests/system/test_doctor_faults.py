"""Photos, lists, labels and masks broken in every known way, and mended as advised."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from archive_trees import (
    SBD_VAL,
    TRAIN,
    TRAIN_AUG,
    VAL,
    cut,
    make_devkit,
    sbd_mask,
)
from doctoring import LISTS, diagnose, prepared_coco, prepared_voc, run_here, run_mend
from PIL import Image
from trees import SIZE, half_mask, save_image, square

from wsss_plugins.datasets.coco14 import COCO_CATEGORIES
from wsss_plugins.datasets.preparation import (
    prepare_voc12,
)
from wsss_plugins.doctor import examine
from wsss_plugins.structures import save_label_map, voc_palette


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return prepared_voc(tmp_path)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return prepared_coco(tmp_path)


# Photos and lists ---------------------------------------------------------------------


def test_photos_missing_broken_and_misnamed(voc) -> None:
    photos = voc / 'JPEGImages'
    (photos / f'{TRAIN[0]}.jpg').unlink()
    cut(photos / f'{TRAIN[1]}.jpg', 0.7)
    (photos / f'{VAL[0]}.jpg').rename(photos / f'{VAL[0]}.JPG')
    found = diagnose(voc)
    assert set(found) == {'photo-missing', 'photo-broken'}, '.JPG is read'
    assert found['photo-missing'].message == (
        f'1 of 5 photos of the lists is missing: {TRAIN[0]}.jpg'
    )
    assert found['photo-broken'].message.startswith(
        '1 of 4 photos of JPEGImages cannot'
    )


def test_ids_with_blanks(voc) -> None:
    for folder, suffix in (('JPEGImages', 'jpg'), ('Annotations', 'xml')):
        for path in (voc / folder).glob(f'{VAL[0]}.*'):
            path.rename(path.with_name(f'day 1.{suffix}'))
    for path in voc.glob(f'SegmentationClass*/{VAL[0]}.png'):
        path.rename(path.with_name('day 1.png'))
    (voc / 'cls_labels.npz').unlink()
    for path in (voc / LISTS).glob('*.txt'):
        path.write_text(path.read_text().replace(VAL[0], 'day 1'))
    assert diagnose(voc) == {}


def test_photos_of_coco_in_capitals(coco) -> None:
    name = 'COCO_train2014_000000000009'
    folder = coco / 'train2014'
    (folder / f'{name}.jpg').rename(folder / f'{name}.JPG')
    found = diagnose(coco)
    assert found['photo-case'].message == (
        f'1 photo of train2014 ends in .JPG, but the lists ask for .jpg: {name}.JPG'
    )
    run_mend(found['photo-case'], coco)
    assert 'photo-case' not in diagnose(coco)


def test_links_to_files_that_are_gone(tmp_path) -> None:
    given = make_devkit(tmp_path / 'given')
    root = prepare_voc12([given], None, tmp_path / 'data', any_count=True).root
    (given / f'JPEGImages/{TRAIN[0]}.jpg').unlink()
    found = diagnose(root)
    assert set(found) == {'link-broken', 'checksum-missing'}
    assert found['checksum-missing'].count == 1


def test_grey_cmyk_and_turned_photos_are_notes(voc) -> None:
    photos = voc / 'JPEGImages'
    Image.new('L', SIZE[::-1]).save(photos / f'{TRAIN[0]}.jpg')
    Image.new('CMYK', SIZE[::-1]).save(photos / f'{TRAIN[1]}.jpg')
    turned = Image.new('RGB', SIZE)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(photos / f'{VAL[0]}.jpg', exif=exif)
    found = diagnose(voc)
    assert set(found) == {'photo-grey', 'photo-cmyk', 'photo-turned'}
    assert not any(finding.problem for finding in found.values())
    assert found['photo-grey'].message == (
        f'1 photo of JPEGImages is grey, and read as RGB: {TRAIN[0]}.jpg'
    )


@pytest.mark.parametrize(
    ('kind', 'text'),
    [
        ('list-crlf', ''.join(f'{n}\r\n' for n in TRAIN_AUG)),
        ('list-twice', ''.join(f'{n}\n' for n in [*TRAIN_AUG, TRAIN_AUG[1]])),
        ('list-suffix', ''.join(f'{n}.jpg\n' for n in TRAIN_AUG)),
    ],
)
def test_lists_that_are_odd_and_mended_by_the_command(voc, kind, text) -> None:
    path = voc / LISTS / 'train_aug.txt'
    whole = path.read_bytes()
    path.write_bytes(text.encode())
    found = diagnose(voc)
    assert set(found) == {kind} and found[kind].problem
    run_mend(found[kind], voc)
    assert path.read_bytes() == whole and diagnose(voc) == {}


def test_mend_commands_with_spaces_in_the_path(voc, tmp_path) -> None:
    root = voc.rename(tmp_path / "my 'own' data")
    path = root / LISTS / 'train_aug.txt'
    path.write_bytes(path.read_bytes().replace(b'\n', b'\r\n'))
    (root / 'JPEGImages/._x.jpg').touch()
    for finding in diagnose(root).values():
        run_mend(finding, tmp_path)
    assert diagnose(root) == {}


def test_empty_missing_and_broken_lists(voc) -> None:
    (voc / LISTS / 'train_aug.txt').write_text('\n')
    (voc / LISTS / 'val.txt').unlink()
    (voc / LISTS / 'trainval.txt').write_bytes(b'\xff\xfe2\0')
    found = diagnose(voc)
    assert {'list-empty', 'list-missing', 'list-broken'} <= set(found)
    assert found['list-missing'].message == f'{LISTS}/val.txt does not exist'


def test_train_in_place_of_train_aug(voc) -> None:
    path = voc / LISTS / 'train_aug.txt'
    shutil.copy(voc / LISTS / 'train.txt', path)
    found = diagnose(voc)
    assert set(found) == {'train-for-train-aug'}
    assert found['train-for-train-aug'].message == (
        f'{LISTS}/train_aug.txt is the list train under another name: 2 images instead of '
        '10,582'
    )
    path.unlink()
    shutil.rmtree(voc / 'SegmentationClassAug')
    (voc / 'cls_labels.npz').unlink()
    found = diagnose(voc)
    assert set(found) == {'no-train-aug'}
    assert found['no-train-aug'].mend == (
        f'wsss prepare voc12 {voc} --sbd benchmark.tgz --out {voc.parent}'
    )


def test_the_command_for_train_aug_is_right(voc, tmp_path) -> None:
    (voc / LISTS / 'train_aug.txt').unlink()
    shutil.rmtree(voc / 'SegmentationClassAug')
    (voc / 'cls_labels.npz').unlink()
    mend = diagnose(voc)['no-train-aug'].mend
    sbd = tmp_path / 'given/benchmark_RELEASE'
    words = shlex.split(mend.replace('benchmark.tgz', str(sbd)))
    run_here([*words, '--any-count'])
    assert diagnose(voc) == {}
    assert (voc / LISTS / 'train_aug.txt').read_text().split() == TRAIN_AUG


def test_training_images_in_val(voc) -> None:
    path = voc / LISTS / 'train_aug.txt'
    path.write_text(path.read_text() + f'{VAL[0]}\n')
    found = diagnose(voc)
    assert set(found) == {'list-overlap'} and found['list-overlap'].count == 1


def test_official_counts(voc) -> None:
    (report,) = examine([voc]).reports[1:]
    found = [f for f in report.findings if f.kind == 'list-count']
    assert len(found) == 3 and all(f.problem for f in found)
    messages = [f.message for f in found]
    assert f'{LISTS}/train.txt lists 2 images, the official list 1,464' in messages


# Labels -------------------------------------------------------------------------------


def test_annotations(voc) -> None:
    folder = voc / 'Annotations'
    (folder / f'{TRAIN[0]}.xml').unlink()
    cut(folder / f'{TRAIN[1]}.xml')
    for name, word in zip(TRAIN_AUG[2:], ('dgo', 'dgo'), strict=True):
        text = f'<annotation><object><name>{word}</name></object></annotation>'
        (folder / f'{name}.xml').write_text(text)
    found = diagnose(voc)
    assert set(found) == {'xml-missing', 'xml-broken', 'xml-class'}
    assert found['xml-missing'].message.startswith('1 of 5 images has no annotation in')
    assert found['xml-class'].message == (
        '2 of 5 annotations of Annotations name a class that is none of the 20 known ones, '
        f'e.g. {TRAIN_AUG[2]}.xml names dgo'
    )


def test_label_file(voc) -> None:
    path = voc / 'cls_labels.npz'
    np.savez(path, names=np.array(TRAIN_AUG), labels=np.zeros((4, 20), np.uint8))
    assert (
        f'{path} lacks 1 images, e.g. {VAL[0]}' == diagnose(voc)['label-broken'].message
    )
    np.savez(path, names=np.array(TRAIN_AUG), labels=np.zeros((4, 3), np.uint8))
    assert 'has labels of shape (4, 3)' in diagnose(voc)['label-broken'].message
    np.savez(path, names=np.array([{}], object), labels=np.zeros(1))
    assert 'holds no labels' in diagnose(voc)['label-broken'].message


# Masks --------------------------------------------------------------------------------


def test_masks_missing(voc) -> None:
    (voc / f'SegmentationClassAug/{SBD_VAL[1]}.png').unlink()
    found = diagnose(voc)
    assert found['mask-missing'].message == (
        f'1 of 4 masks of SegmentationClassAug is missing: {SBD_VAL[1]}.png'
    )
    assert set(found) == {'mask-missing'}


@pytest.mark.parametrize(
    ('count', 'which'),
    [
        (2857, "the images of SBD's own val"),
        (2913, "VOC's own train and val, without those of SBD"),
    ],
)
def test_known_variants_of_the_aug_folder(voc, count, which) -> None:
    folder = voc / 'SegmentationClassAug'
    (folder / f'{SBD_VAL[1]}.png').unlink()
    for i in range(count - len(list(folder.iterdir()))):
        (folder / f'x{i}.png').symlink_to(folder / f'{VAL[0]}.png')
    found = diagnose(voc, quick=True)
    assert set(found) == {'mask-variant', 'mask-missing'}
    assert found['mask-variant'].message == (
        f'SegmentationClassAug holds {count:,} masks only: {which}'
    )


def test_masks_of_many_faults(voc) -> None:
    folder = voc / 'SegmentationClass'
    cut(folder / f'{TRAIN[0]}.png', 0.8)
    save_label_map(folder / f'{TRAIN[1]}.png', half_mask(33))
    save_label_map(folder / f'{VAL[0]}.png', half_mask(3, SIZE[::-1]))
    found = diagnose(voc)
    assert set(found) == {'mask-broken', 'mask-value', 'mask-size'}
    assert found['mask-value'].message == (
        '1 mask of SegmentationClass has values that are no class (allowed: 0 to 20, '
        f'255): {TRAIN[1]}.png has 33'
    )
    assert (
        f'{VAL[0]}.png is 10 x 6, its photo 6 x 10 (H x W)'
        in found['mask-size'].message
    )
    pixels = np.zeros((*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f'{TRAIN[0]}.png', 'JPEG')
    pixels[0, 0] = 1
    Image.fromarray(pixels).save(folder / f'{TRAIN[1]}.png')
    save_label_map(folder / f'{VAL[0]}.png', half_mask(3))
    assert set(diagnose(voc)) == {'mask-jpeg', 'mask-colours'}


def test_coloured_masks_are_mended_by_the_command(voc) -> None:
    folder = voc / 'SegmentationClass'
    masks = {path.name: path.read_bytes() for path in folder.iterdir()}
    for i, name in enumerate(masks):
        Image.fromarray(voc_palette()[sbd_mask(i)]).save(folder / name)
    found = diagnose(voc)
    assert set(found) == {'mask-coloured'}
    assert found['mask-coloured'].message.startswith(
        '3 masks of SegmentationClass show'
    )
    run_mend(found['mask-coloured'], voc)
    shutil.rmtree(folder)
    (voc / 'indexed/SegmentationClass').rename(folder)
    assert diagnose(voc) == {}


# COCO ---------------------------------------------------------------------------------


def test_masks_of_91_ids_are_mended_by_the_command(coco) -> None:
    folder = coco / 'SegmentationClass/train2014'
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    table = np.arange(256)
    table[1:81] = list(COCO_CATEGORIES)
    for path in folder.iterdir():
        with Image.open(path) as image:
            mask = np.array(image)
        save_label_map(path, table[mask].astype(np.uint8))
    found = diagnose(coco)
    assert set(found) == {'mask-91'}
    assert found['mask-91'].message == (
        '1 mask of SegmentationClass/train2014 has category ids (up to 90) instead of the '
        '80 classes: COCO_train2014_000000000009.png'
    )
    run_mend(found['mask-91'], coco)
    made = folder.parent / 'indexed/train2014'
    assert {path.name: path.read_bytes() for path in made.iterdir()} == whole


def test_91_ids_below_81_are_told_by_the_annotations(coco) -> None:
    path = coco / 'annotations/instances_train2014.json'
    content = json.loads(path.read_text())
    content['annotations'] = [square(70, 1)]
    content['categories'].append(dict(id=70, name='toilet'))
    path.write_text(json.dumps(content))
    for mask in (coco / 'SegmentationClass/train2014').iterdir():
        save_label_map(mask, half_mask(70 if '09' in mask.stem else 0))
    assert set(diagnose(coco)) == {'mask-91'}


def test_masks_of_other_images(coco) -> None:
    folder = coco / 'SegmentationClass/train2014'
    save_label_map(folder / 'COCO_train2014_000000000025.png', half_mask(5))
    (folder / 'COCO_train2014_000000000030.png').unlink()
    found = diagnose(coco)
    assert set(found) == {'mask-foreign', 'mask-missing'}
    assert f'--data-root {coco} --split train2014' in found['mask-missing'].mend
    run_mend(found['mask-missing'], coco)
    assert diagnose(coco) == {}


def test_coco_photos_and_annotations(coco) -> None:
    photos = coco / 'train2014'
    save_image(photos / 'COCO_train2014_000000000009.jpg', size=SIZE[::-1])
    save_image(photos / 'COCO_train2014_000000000099.jpg')
    (coco / 'val2014').mkdir()
    found = diagnose(coco)
    assert set(found) == {
        'photo-size', 'photo-unlisted', 'instances-missing', 'mask-size'
    }  # fmt: skip
    assert not found['photo-unlisted'].problem
    cut(coco / 'annotations/instances_train2014.json')
    assert 'is no instances file of COCO' in diagnose(coco)['instances-broken'].message
