"""The doctor on whole trees, on trees broken in every known way, and after its advice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny
from archive_trees import (
    SBD_VAL,
    TRAIN,
    TRAIN_AUG,
    cut,
    make_devkit,
    make_sbd,
)
from doctoring import diagnose, prepared_coco, prepared_voc, run_mend
from imagenet_trees import (
    GOLDFISH,
    TENCH,
    make_flat_imagenet,
    make_imagenet,
    make_imagenet_seg,
)
from trees import half_mask, make_folder, save_image

from wsss_plugins.datasets.preparation import (
    prepare_coco14,
    prepare_sbd,
    prepare_voc12,
)
from wsss_plugins.doctor import examine
from wsss_plugins.errors import DataError
from wsss_plugins.structures import save_label_map


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return prepared_voc(tmp_path)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return prepared_coco(tmp_path)


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
    assert 'prepared by `wsss prepare`' in found.text()
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


def test_real_samples(shared) -> None:
    found = diagnose(shared / 'data/voc_sample')
    assert set(found) == {'no-train-aug', 'list-overlap', 'xml-missing'}
    assert found['list-overlap'].count == found['xml-missing'].count == 3
    found = diagnose(shared / 'data/coco128')
    assert set(found) == {'photo-grey'} and not found['photo-grey'].problem


# Others -------------------------------------------------------------------------------


def test_imagenet(tmp_path) -> None:
    root = tmp_path / 'data/imagenet'
    for split, names in (('train', 'abc'), ('val', 'de')):
        make_imagenet(root, {n: (TENCH, GOLDFISH)[n in 'bd'] for n in names}, split)
    (report,) = examine([tmp_path]).reports[1:]
    assert (report.place, report.title) == (str(root), 'ImageNet (ILSVRC 2012)')
    counts = ('val: 2 images of 2 classes', 'train: 3 images of 2 classes')
    assert report.facts == counts
    assert [f.kind for f in report.findings] == ['list-count', 'list-count']
    cut(root / f'train/{TENCH}/a.JPEG')
    (root / f'val/{TENCH}/._e.JPEG').write_text('of macOS')
    found = diagnose(root)
    assert set(found) == {'photo-broken', 'macos'}
    assert found['photo-broken'].message.startswith(f'1 of 3 photos of train/{TENCH}')
    (root / 'val/n01440765').mkdir()
    shutil.copy(root / f'val/{GOLDFISH}/d.JPEG', root / 'val/n01440765/f.JPEG')
    assert "the unknown class 'n01440765'" in diagnose(root)['split-broken'].message


def test_imagenet_as_its_archive_has_it(tmp_path) -> None:
    root = make_flat_imagenet(tmp_path / 'imagenet', [TENCH, GOLDFISH])
    assert diagnose(root) == {}
    (root / 'ILSVRC2012_devkit_t12/data/meta.mat').unlink()
    found = diagnose(root)
    assert set(found) == {'split-broken'}
    assert 'unpack ILSVRC2012_devkit_t12.tar.gz' in found['split-broken'].message


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
    found = diagnose(root)
    assert set(found) == {'table-broken'}
    assert "the tags 'Sofa' and 'sofa'" in found['table-broken'].message
    make_folder(root, [('a.jpg', 'dog;sofa'), ('b.jpg', 'sofa'), ('b.png', '')])
    assert "the id 'b', b.jpg and b.png" in diagnose(root)['table-broken'].message
    make_folder(root, [('a.jpg', 'dog;sofa'), ('c.jpg', 'sofa')])
    save_label_map(root / 'masks/a.png', half_mask(9))
    (root / 'images/a.jpg').rename(root / 'images/a.JPG')
    found = diagnose(root)
    assert set(found) == {'masks', 'doubt'} and not found['doubt'].problem
    assert 'has the value 9: allowed are 0 to 2' in found['masks'].message


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


def test_label_maps_alone_are_no_data_set(coco, tmp_path) -> None:
    alone = tmp_path / 'alone/SegmentationClass'
    shutil.copytree(coco / 'SegmentationClass', alone)
    assert set(diagnose(tmp_path / 'alone')) == {'unrecognised'}
    shutil.copytree(coco / 'train2014', tmp_path / 'bare/train2014')
    assert set(diagnose(tmp_path / 'bare')) == {'instances-missing'}


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
