"""What may be wrong with what the user has of VOC: one line each, and nothing is lost."""

from __future__ import annotations

import errno
import shutil

import numpy as np
from archive_trees import (
    SBD_TRAIN,
    TRAIN,
    TRAIN_AUG,
    VAL,
    cut,
    files_of,
    make_test_devkit,
    pack_tar,
    sbd_mask,
    sbd_mat,
)
from PIL import Image
from trees import SIZE, half_mask, save_image

from wsss_plugins.structures import save_label_map, voc_palette


def test_in_place_overwrites_nothing(refused, voc) -> None:
    path = voc / 'SegmentationClassAug/mine.png'
    save_label_map(path, half_mask(1))
    before = files_of(voc)
    assert 'SegmentationClassAug is there already' in refused([voc], out=voc.parent)
    shutil.rmtree(path.parent)
    coloured = voc / f'SegmentationClass/{VAL[0]}.png'
    Image.fromarray(voc_palette()[half_mask(10)]).save(coloured)
    before = files_of(voc)
    text = refused([voc], out=voc.parent)
    assert 'shows colours instead of indices, and is not overwritten' in text
    after = files_of(voc)
    assert {n: after[n] for n in before} == before


def test_done_is_done_and_other_sources_are_refused(prepare, refused, voc) -> None:
    done = prepare()
    times = {p: p.lstat().st_mtime_ns for p in done.root.rglob('*')}
    again = prepare()
    assert not again.fresh and again.counts == done.counts
    assert {p: p.lstat().st_mtime_ns for p in done.root.rglob('*')} == times
    assert 'with options train_aug=True, difficult=True, not' in refused(
        difficult=False
    )
    text = refused([voc])
    assert f'with sources {voc.parent}, ' in text and 'choose another --out' in text


def test_a_folder_of_something_else_is_refused(refused, tmp_path) -> None:
    (tmp_path / 'out/VOC2012').mkdir(parents=True)
    (tmp_path / 'out/VOC2012/thesis.txt').write_text('mine')
    assert 'holds files that no preparation wrote' in refused()
    (tmp_path / 'file').touch()
    assert f'{tmp_path / "file"} is a file: name a folder' in refused(
        out=tmp_path / 'file'
    )


def test_a_folder_that_cannot_be_written(refused, monkeypatch) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr('wsss_plugins.datasets.preparation.tree.save_json', read_only)
    assert 'cannot be written to (Read-only file system): choose another' in refused()


def test_a_whole_photo_behind_a_broken_one(prepare, refused, voc, tmp_path) -> None:
    name = f'{TRAIN_AUG[3]}.jpg'
    whole = (voc / f'JPEGImages/{name}').read_bytes()
    cut(voc / f'JPEGImages/{name}', 0.7)
    tar = pack_tar(voc, tmp_path / 'v.tar')
    text = refused([tar])
    assert f'v.tar: VOC2012/JPEGImages/{name} cannot be decoded (' in text
    assert 'put a whole one into a folder of the same name' in text
    mended = tmp_path / 'mended/JPEGImages' / name
    mended.parent.mkdir(parents=True)
    mended.write_bytes(whole)
    earlier = tmp_path / f'out/VOC2012/JPEGImages/{TRAIN[0]}.jpg'
    assert earlier.is_file(), 'written by the first run'
    save_image(mended.with_name(earlier.name), 99)
    root = prepare([tar, tmp_path / 'mended']).root
    assert (root / f'JPEGImages/{name}').read_bytes() == whole
    assert earlier.read_bytes() == mended.with_name(earlier.name).read_bytes()


def test_what_is_missing(refused, voc, tmp_path) -> None:
    (voc / f'JPEGImages/{TRAIN[0]}.jpg').unlink()
    assert (
        f'1 of 5 files of JPEGImages are missing, the first is {TRAIN[0]}.jpg'
        in refused()
    )
    shutil.rmtree(voc / 'Annotations')
    save_image(voc / f'JPEGImages/{TRAIN[0]}.jpg')
    assert '5 of 5 files of Annotations are missing' in refused()
    (voc / 'ImageSets/Segmentation/val.txt').unlink()
    assert 'lacks ImageSets/Segmentation/val.txt: give VOCtrainval' in refused()
    shutil.rmtree(voc / 'JPEGImages')
    assert 'has no folder JPEGImages' in refused()
    assert not (tmp_path / 'out').exists(), 'nothing is written before the checks'


def test_wrong_archives(refused, voc, sbd, tmp_path) -> None:
    assert 'has no folder JPEGImages (it holds dataset' in refused([sbd])
    text = refused(sbd_sources=[voc])
    assert 'has no masks of SBD, cls/<id>.mat (it holds' in text
    assert 'give benchmark.tgz of the Semantic Boundaries Dataset' in text
    old = voc.rename(voc.with_name('VOC2007'))
    tar = pack_tar(old.parent, tmp_path / 'VOCtrainval_06-Nov-2007.tar')
    for source in (tar, old):
        text = refused([source])
        assert 'holds another year than VOC2012: give VOCtrainval_11-May' in text


def test_test_archive_alone(refused, tmp_path) -> None:
    extra = make_test_devkit(tmp_path / 'more')
    tar = pack_tar(extra.parent, tmp_path / 'VOC2012test.tar')
    assert 'lacks ImageSets/Segmentation/val.txt' in refused([tar])


def test_official_counts_unless_told_otherwise(refused) -> None:
    text = refused(any_count=False)
    assert text == (
        'train.txt has 2 images, the official one 1,464: give the whole data set, or add '
        '--any-count for a part of it'
    )


def test_damaged_files(refused, voc, sbd) -> None:
    mat = sbd / f'dataset/cls/{SBD_TRAIN[1]}.mat'
    whole = mat.read_bytes()
    cut(mat, 0.5)
    assert f'{mat} is no MATLAB file of SBD with GTcls.Segmentation' in refused()
    mat.write_bytes(sbd_mat(sbd_mask(1), 'GTinst'))
    assert "is no MATLAB file of SBD with GTcls.Segmentation ('GTcls')" in refused()
    mat.write_bytes(sbd_mat(np.full(SIZE, 21, np.uint8)))
    assert 'has the value 21: allowed are 0 to 20 and 255' in refused()
    mat.write_bytes(sbd_mat(np.zeros((*SIZE, 3), np.uint8)[..., 0].astype(np.int32)))
    assert 'GTcls.Segmentation is int32 of shape' in refused()
    mat.write_bytes(whole)
    xml = voc / f'Annotations/{VAL[0]}.xml'
    xml.write_text('<annotation><object><name>dgo</name></object></annotation>')
    assert f"{xml} names the unknown class 'dgo': did you mean 'dog'?" in refused()
    cut(xml)
    assert f'{xml} is no readable annotation' in refused()


def test_damaged_masks(refused, voc, tmp_path) -> None:
    path = voc / f'SegmentationClass/{VAL[0]}.png'
    whole = path.read_bytes()
    cut(path, 0.8)
    assert f'{path} cannot be decoded' in refused()
    save_label_map(path, np.full(SIZE, 33, np.uint8))
    assert f'{path} has the value 33: allowed are 0 to 20 and 255' in refused()
    Image.new('RGB', (SIZE[1], SIZE[0]), (1, 2, 3)).save(path)
    assert 'the colour (1, 2, 3) at row 0, column 0' in refused()
    path.write_bytes(whole)


def test_masks_of_another_size_than_their_photo(prepare, refused, voc, sbd) -> None:
    photo = voc / f'JPEGImages/{TRAIN_AUG[2]}.jpg'
    whole = photo.read_bytes()
    save_image(photo, size=(SIZE[1], SIZE[0]))
    text = refused()
    assert (
        f'SegmentationClassAug/{TRAIN_AUG[2]}.png is 6 x 10 (H x W), its photo 10 x 6'
        in text
    )
    photo.write_bytes(whole)
    assert prepare().fresh, 'what was wrong is read anew'


def test_too_small_a_disk(refused, voc, tmp_path, monkeypatch) -> None:
    tar = pack_tar(voc.parent, tmp_path / 'v.tar')
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda _: shutil._ntuple_diskusage(100, 90, 10)
    )
    text = refused([tar])
    assert 'kB more, but its disk has only 10 bytes free: free ' in text
    assert not (tmp_path / 'out').exists()
