"""The doctor on whole trees, on trees broken in every known way, and after its advice."""

from __future__ import annotations

import json
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny
from archive_trees import (
    SBD_VAL,
    TRAIN,
    TRAIN_AUG,
    VAL,
    cut,
    make_devkit,
    make_sbd,
    sbd_mask,
)
from imagenet_trees import GOLDFISH, TENCH, make_imagenet_seg
from PIL import Image
from trees import SIZE, half_mask, make_coco, make_folder, save_image, square

from wsss_plugins.datasets.coco14 import COCO_CATEGORIES
from wsss_plugins.datasets.preparation import (
    prepare_coco14,
    prepare_sbd,
    prepare_voc12,
)
from wsss_plugins.doctor import Finding, examine
from wsss_plugins.errors import DataError
from wsss_plugins.structures import save_label_map, voc_palette

LISTS = 'ImageSets/Segmentation'


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """A prepared devkit, copied, so that it can be broken; its record is removed."""
    given = make_devkit(tmp_path / 'given')
    sbd = make_sbd(tmp_path / 'given')
    root = prepare_voc12(
        [given], [sbd], tmp_path / 'data', copy=True, any_count=True
    ).root
    for name in ('prepared.json', 'checksums.sha256'):
        (root / name).unlink()
    return root


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    images = [f'COCO_train2014_{i:012}.jpg' for i in (9, 25, 30)]
    large = square(90, 1, segmentation=[[0, 0, 10, 0, 10, 6, 0, 6]], area=60)
    found = [large, square(1, 1), square(2, 3)]
    given = make_coco(tmp_path / 'given', images, found)
    root = prepare_coco14([given], tmp_path / 'coco', copy=True, any_count=True).root
    for name in ('prepared.json', 'checksums.sha256'):
        (root / name).unlink()
    return root


PARTIAL = {'list-count', 'list-part'}
"""All miniature sets have other counts than the real ones; and every one says so."""


def diagnose(root: Path, **options) -> dict[str, Finding]:
    """Findings of data by kind, without those of size; at most one of each kind."""
    found = [
        finding
        for report in examine([root], **options).reports
        if report.place != 'environment'
        for finding in report.findings
        if finding.kind not in PARTIAL
    ]
    kinds = [finding.kind for finding in found]
    assert len(set(kinds)) == len(kinds), kinds
    assert not any('\n' in f.message + f.mend for f in found)
    return dict(zip(kinds, found, strict=True))


def run_mend(finding: Finding, root: Path) -> None:
    """Runs the command that mends a finding, as the user would."""
    if finding.mend.startswith('python tools/'):
        run_here(shlex.split(finding.mend)[1:])
        return
    done = subprocess.run(
        ['bash', '-c', finding.mend], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr


def run_here(words: list[str]) -> None:
    """Runs a tool in this process, which saves the imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', words)
        runpy.run_path(str(tiny.ROOT / words[0]), run_name='__main__')


# Whole trees --------------------------------------------------------------------------


def test_prepared_trees_are_healthy(voc, coco, tmp_path) -> None:
    sbd = tmp_path / 'given/benchmark_RELEASE'
    prepare_voc12(
        [tmp_path / 'given/VOCdevkit'], [sbd], tmp_path / 'linked', any_count=True
    )
    prepare_sbd([sbd], tmp_path / 'linked/sbd', any_count=True)
    prepare_coco14([coco], tmp_path / 'linked/coco', any_count=True)
    found = examine([tmp_path / 'linked'])
    assert [Path(r.place).name for r in found.reports] == [
        'environment', 'VOC2012', 'coco', 'sbd'
    ]  # fmt: skip
    data = [f for r in found.reports[1:] for f in r.findings]
    assert {f.kind for f in data} == {'list-part'} and not any(f.problem for f in data)
    assert 'prepared by tools/prepare_data.py' in found.text()
    assert diagnose(voc) == {} and diagnose(coco) == {}


def test_the_synthetic_set_is_recognised_and_healthy(data_root) -> None:
    (report,) = examine([data_root.parent]).reports[1:]
    assert report.title == 'the synthetic set, in the layout of VOC'
    assert report.findings == ()
    assert report.facts[0] == 'images: train 24, trainval 36, val 12'


def test_quick_decodes_a_sample_but_looks_for_every_file(voc, monkeypatch) -> None:
    monkeypatch.setattr('wsss_plugins.doctor.pictures.QUICK', 2)
    middle = voc / f'JPEGImages/{TRAIN_AUG[2]}.jpg'
    cut(middle)
    assert set(diagnose(voc)) == {'photo-broken'}
    assert diagnose(voc, quick=True) == {}
    middle.unlink()
    assert set(diagnose(voc, quick=True)) == {'photo-missing'}


# Photos and lists ---------------------------------------------------------------------


def test_photos_missing_broken_and_misnamed(voc) -> None:
    photos = voc / 'JPEGImages'
    (photos / f'{TRAIN[0]}.jpg').unlink()
    cut(photos / f'{TRAIN[1]}.jpg', 0.7)
    (photos / f'{VAL[0]}.jpg').rename(photos / f'{VAL[0]}.JPG')
    found = diagnose(voc)
    assert set(found) == {'photo-missing', 'photo-broken', 'photo-case'}
    assert found['photo-missing'].message == (
        f'1 of 5 photos of the lists is missing: {TRAIN[0]}.jpg'
    )
    assert found['photo-broken'].message.startswith(
        '1 of 4 photos of JPEGImages cannot'
    )
    assert found['photo-case'].message == (
        f'1 photo of JPEGImages ends in .JPG, but the lists ask for .jpg: {VAL[0]}.JPG'
    )
    run_mend(found['photo-case'], voc)
    assert set(diagnose(voc)) == {'photo-missing', 'photo-broken'}


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
        f'python tools/prepare_data.py voc12 {voc} --sbd benchmark.tgz --out {voc.parent}'
    )


def test_the_command_for_train_aug_is_right(voc, tmp_path) -> None:
    (voc / LISTS / 'train_aug.txt').unlink()
    shutil.rmtree(voc / 'SegmentationClassAug')
    (voc / 'cls_labels.npz').unlink()
    mend = diagnose(voc)['no-train-aug'].mend
    sbd = tmp_path / 'given/benchmark_RELEASE'
    words = shlex.split(mend.replace('benchmark.tgz', str(sbd)))[1:]
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
    (voc / 'SegmentationClassIndexed').rename(folder)
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
    made = folder.with_name('train201480')
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


# Others -------------------------------------------------------------------------------


def test_imagenet_seg(tmp_path) -> None:
    path = tmp_path / 'seg/gtsegs_ijcv.mat'
    make_imagenet_seg(path, dict(a=TENCH, b=GOLDFISH))
    (report,) = examine([tmp_path]).reports[1:]
    assert report.title == 'ImageNet-Segmentation'
    assert report.facts == ('2 images of 2 classes',)
    assert [f.kind for f in report.findings] == ['list-count']
    with h5py.File(path, 'r+') as file:
        for row in (0, 1):
            name = file[file['value/img'][row, 0]].name
            del file[name]
            file[name] = np.zeros((2, 3, 4, 5), np.uint8)
            file['value/img'][row, 0] = file[name].ref
    assert diagnose(tmp_path)['image-broken'].message.startswith('2 of 2 images of gts')
    cut(path)
    assert 'is no whole HDF5 file' in diagnose(tmp_path)['file-broken'].message


def test_sbd_as_downloaded(tmp_path) -> None:
    sbd = make_sbd(tmp_path)
    cut(sbd / f'dataset/cls/{SBD_VAL[0]}.mat')
    found = diagnose(tmp_path)
    assert set(found) == {'sbd-raw', 'sbd-count', 'sbd-broken'}
    assert not found['sbd-raw'].problem and found['sbd-broken'].count == 1
    assert found['sbd-count'].message == 'cls has 4 masks, the official one 11,355'


def test_photos_with_a_table(tmp_path) -> None:
    root = tmp_path / 'photos'
    make_folder(root, [('a.jpg', 'dog;Sofa'), ('b.jpg', 'sofa'), ('b.png', '')])
    save_label_map(root / 'masks/a.png', half_mask(9))
    (root / 'images/a.jpg').rename(root / 'images/a.JPG')
    save_image(root / 'images/unlisted.jpg')
    found = diagnose(root)
    assert set(found) == {
        'photo-case', 'table-twice', 'tag-case', 'mask-value', 'photo-unlisted'
    }  # fmt: skip
    assert found['tag-case'].message.endswith('as different classes: Sofa and sofa')
    (root / 'train.csv').write_text('file;tags\na.jpg;dog\n')
    found = diagnose(root)
    assert (
        "begins with 'file;tags' instead of file,tags" in found['table-broken'].message
    )


def test_remains_of_macos_and_of_killed_runs(voc) -> None:
    for name in ('JPEGImages/._a.jpg', 'SegmentationClass/._b.png'):
        (voc / name).write_bytes(b'\0')
    (voc / 'JPEGImages/.a.77.part.jpg').touch()
    found = diagnose(voc)
    assert set(found) == {'macos', 'left-behind'} and found['macos'].count == 2
    for finding in found.values():
        run_mend(finding, voc)
    assert diagnose(voc) == {}


def test_interrupted_preparation_and_changed_files(tmp_path) -> None:
    given = make_devkit(tmp_path / 'given')
    root = prepare_voc12(
        [given], None, tmp_path / 'data', copy=True, any_count=True
    ).root
    assert diagnose(root) == {}
    save_image(root / f'JPEGImages/{TRAIN[0]}.jpg', 99)
    found = diagnose(root)
    assert set(found) == {'checksum'}
    assert found['checksum'].message.endswith(f': JPEGImages/{TRAIN[0]}.jpg')
    record = json.loads((root / 'prepared.json').read_text())
    (root / 'prepared.json').write_text(json.dumps(dict(record, complete=False)))
    assert 'interrupted' in diagnose(root)


def test_folders_that_are_no_data_set(voc, tmp_path) -> None:
    (tmp_path / 'empty').mkdir()
    found = diagnose(tmp_path / 'empty')
    assert 'is recognised in' in found['unrecognised'].message
    (report,) = examine([voc / 'JPEGImages']).reports[1:]
    assert report.facts == (f'{voc} looks like a data set: name that folder',)
    with pytest.raises(DataError, match='nowhere does not exist: name a folder'):
        examine([tmp_path / 'nowhere'])


def test_broken_packages_come_first(voc, monkeypatch) -> None:
    monkeypatch.setattr(
        'wsss_plugins.doctor.machine.package_problems',
        lambda: ['mmcv must not be installed. Run `pip uninstall -y mmcv`'],
    )
    found = examine([voc])
    assert found.findings[0].kind == 'packages'
    assert found.findings[0].message == 'mmcv must not be installed'
    assert found.findings[0].mend == 'pip uninstall -y mmcv'
    assert 'examined once the environment is mended' in found.text()
    assert not found.healthy


# The tool -----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_tool(voc, coco, data_root, tmp_path) -> None:
    tool = tiny.TOOLS / 'doctor.py'
    healthy = tiny.run_python(tool, data_root)
    assert healthy.stdout.endswith('healthy\n')
    file = tmp_path / 'found.json'
    ill = tiny.run_python(tool, voc, coco, '--json', file, '--quick', code=1)
    assert 'PROBLEM' in ill.stdout and ill.stdout.splitlines()[-1].endswith('problems')
    content = json.loads(file.read_text())
    assert content['healthy'] is False
    assert [Path(r['place']).name for r in content['reports']] == [
        'environment', 'VOC2012', 'coco'
    ]  # fmt: skip
    wrong = tiny.run_python(tool, tmp_path / 'nowhere', code=2)
    assert wrong.stderr == (
        f'error: data root {tmp_path / "nowhere"} does not exist: name a folder\n'
    )
    assert wrong.stdout == ''
