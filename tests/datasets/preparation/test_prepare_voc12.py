"""VOC 2012 from its archives and folders, compared with what the rules say by hand."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from archive_trees import (
    EXTRA,
    SBD_TRAIN,
    SBD_VAL,
    TEST,
    TRAIN,
    TRAIN_AUG,
    VAL,
    annotation,
    cut,
    files_of,
    make_devkit,
    make_sbd,
    make_test_devkit,
    pack_tar,
    pack_zip,
    sbd_mask,
    sbd_mat,
)
from PIL import Image
from trees import SIZE, half_mask, save_image

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.preparation import prepare_voc12
from wsss_plugins.datasets.preparation.sbd import SBDMasks
from wsss_plugins.datasets.preparation.sources import Pool, open_source
from wsss_plugins.datasets.preparation.tree import CHECKSUMS, RECORD
from wsss_plugins.datasets.preparation.voc12 import Devkit
from wsss_plugins.errors import DataError
from wsss_plugins.structures import (
    load_json,
    load_label_map,
    load_npz,
    save_label_map,
    voc_palette,
)


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    return make_devkit(tmp_path / 'given')


@pytest.fixture
def sbd(tmp_path: Path) -> Path:
    return make_sbd(tmp_path / 'given')


@pytest.fixture
def prepare(voc: Path, sbd: Path, tmp_path: Path):
    """Prepares the miniature devkit; arguments replace the usual ones."""

    def run(sources=None, sbd_sources=(sbd,), out=tmp_path / 'out', **options):
        sources = [voc.parent] if sources is None else sources
        options = dict(any_count=True, workers=2) | options
        return prepare_voc12(sources, sbd_sources, out, **options)

    return run


@pytest.fixture
def refused(prepare):
    """Prepares what must be refused; the one line it says."""

    def run(*arguments, **options) -> str:
        with pytest.raises(DataError) as caught:
            prepare(*arguments, **options)
        assert '\n' not in str(caught.value)
        return str(caught.value)

    return run


def test_lists_and_counts(prepare) -> None:
    done = prepare()
    assert done.counts == dict(train=2, val=1, trainval=3, train_aug=4, without_label=0)
    lists = done.root / 'ImageSets/Segmentation'
    assert (lists / 'train_aug.txt').read_text().split() == TRAIN_AUG
    assert (lists / 'train.txt').read_text().split() == TRAIN
    assert (lists / 'val.txt').read_text().split() == VAL


def test_masks_are_vocs_where_there_are_any_else_those_of_sbd(prepare) -> None:
    aug = prepare().root / 'SegmentationClassAug'
    assert {p.stem for p in aug.iterdir()} == {*TRAIN_AUG, *VAL}
    for i, name in enumerate([*TRAIN, *VAL]):
        np.testing.assert_array_equal(
            load_label_map(aug / f'{name}.png'), half_mask(8 + i)
        )
    for i, name in enumerate([*SBD_TRAIN, *SBD_VAL]):
        if name not in (*TRAIN, *VAL):
            found = load_label_map(aug / f'{name}.png', num_classes=21)
            np.testing.assert_array_equal(found, sbd_mask(i))
            with Image.open(aug / f'{name}.png') as image:
                assert image.mode == 'P'
                assert image.getpalette() == voc_palette().ravel().tolist()


def test_the_data_set_reads_it(prepare) -> None:
    root = prepare().root
    for labels in ('xml', 'cls_labels.npz'):
        dataset = VOC12(root, 'train_aug', labels=labels)
        assert dataset.ids == TRAIN_AUG
        shown = [np.flatnonzero(dataset.labels(i)).tolist() for i in range(4)]
        assert shown == [[7], [11, 14], [7], [11, 14]]  # cat; dog and person
        assert dataset.load_image(2).shape == (*SIZE, 3)
    maps = VOC12(root, 'val', label_maps='SegmentationClassAug', test_mode=True)
    np.testing.assert_array_equal(maps.load_mask(0), half_mask(10))
    with pytest.raises(DataError, match='no weak supervision'):
        VOC12(root, 'train_aug', label_maps='SegmentationClassAug')


def test_labels_with_and_without_difficult_objects(prepare, tmp_path) -> None:
    labels = load_npz(prepare().root / 'cls_labels.npz')
    assert labels['names'].tolist() == [*TRAIN_AUG, *VAL]
    assert labels['labels'].sum(1).tolist() == [1, 2, 1, 2, 1]
    done = prepare(out=tmp_path / 'easy', difficult=False)
    assert load_npz(done.root / 'cls_labels.npz')['labels'].sum(1).tolist() == [1] * 5


def test_images_with_difficult_objects_only_are_counted(prepare, voc) -> None:
    for name in TRAIN:
        (voc / f'Annotations/{name}.xml').write_text(annotation([('dog', 1)]))
    assert prepare(difficult=False).counts['without_label'] == 2


def test_folders_are_linked_to_or_copied(prepare, voc, tmp_path) -> None:
    linked = prepare().root
    assert (linked / f'JPEGImages/{EXTRA}.jpg').resolve() == (
        voc / f'JPEGImages/{EXTRA}.jpg'
    )
    inner = linked / f'SegmentationClassAug/{VAL[0]}.png'
    assert inner.readlink() == Path('..') / 'SegmentationClass' / f'{VAL[0]}.png'
    copied = prepare(out=tmp_path / 'copied', copy=True).root
    assert not any(path.is_symlink() for path in copied.rglob('*'))
    assert files_of(linked).keys() == files_of(copied).keys()
    for name, data in files_of(linked).items():
        assert data == files_of(copied)[name], name


@pytest.mark.parametrize('mode', ['w', 'w:gz'])
def test_archives_give_the_same_as_folders(prepare, voc, sbd, tmp_path, mode) -> None:
    folder = prepare().root
    tar = pack_tar(voc.parent, tmp_path / 'VOCtrainval_11-May-2012.tar', mode)
    tgz = pack_tar(sbd, tmp_path / 'benchmark.tgz', 'w:gz')
    archived = prepare([tar], [tgz], tmp_path / 'archived').root
    assert not (archived / 'JPEGImages' / f'{EXTRA}.jpg').is_symlink()
    expected, found = files_of(folder), files_of(archived)
    assert found.pop(RECORD) != expected.pop(RECORD)  # it names the sources
    assert found == expected
    assert 'SegmentationObject' not in ''.join(found)


def test_the_test_photos_of_the_second_tar(prepare, voc, tmp_path) -> None:
    tar = pack_tar(voc.parent, tmp_path / 'trainval.tar')
    extra = make_test_devkit(tmp_path / 'more')
    test_tar = pack_tar(extra.parent, tmp_path / 'VOC2012test.tar')
    done = prepare([tar, test_tar])
    assert done.counts['test'] == 1
    dataset = VOC12(done.root, 'test', labels=None, test_mode=True)
    assert dataset.ids == TEST and dataset.load_image(0).shape == (*SIZE, 3)


def test_ready_made_masks_of_sbd(prepare, tmp_path) -> None:
    """SegmentationClassAug as a zip from elsewhere, with what macOS adds."""
    folder = tmp_path / 'SegmentationClassAug'
    for i, name in enumerate([*TRAIN_AUG, *VAL]):
        save_label_map(folder / f'{name}.png', sbd_mask(i))
    done = prepare(sbd_sources=[pack_zip([folder], tmp_path / 'aug.zip')])
    lists = done.root / 'ImageSets/Segmentation'
    assert (lists / 'train_aug.txt').read_text().split() == TRAIN_AUG
    own = done.root / f'SegmentationClassAug/{TRAIN[0]}.png'
    np.testing.assert_array_equal(load_label_map(own), half_mask(8))
    other = done.root / f'SegmentationClassAug/{TRAIN_AUG[2]}.png'
    np.testing.assert_array_equal(load_label_map(other), sbd_mask(2))


def test_colour_coded_masks_become_indices(prepare, voc) -> None:
    path = voc / f'SegmentationClass/{VAL[0]}.png'
    Image.fromarray(voc_palette()[half_mask(10)]).save(path)
    root = prepare().root
    for folder in ('SegmentationClass', 'SegmentationClassAug'):
        found = root / folder / f'{VAL[0]}.png'
        np.testing.assert_array_equal(load_label_map(found), half_mask(10))
    with Image.open(path) as image:
        assert image.mode == 'RGB', 'the source is left alone'


def test_in_place_adds_what_is_missing(prepare, voc) -> None:
    before = files_of(voc)
    done = prepare([voc], out=voc.parent)
    assert done.root == voc
    after = files_of(voc)
    assert {name: after[name] for name in before} == before
    new = {name.split('/')[0] for name in after if name not in before}
    assert new == {
        'SegmentationClassAug', 'ImageSets', 'cls_labels.npz', CHECKSUMS, RECORD
    }  # fmt: skip
    assert not (voc / f'JPEGImages/{EXTRA}.jpg').is_symlink()


def test_in_place_keeps_a_list_of_the_same_images(prepare, refused, voc) -> None:
    path = voc / 'ImageSets/Segmentation/train_aug.txt'
    path.write_text('2007_000001\n')
    assert f'{path} is there already, and not from this tool' in refused(
        [voc], out=voc.parent
    )
    text = ''.join(f'/JPEGImages/{n}.jpg /Aug/{n}.png\r\n' for n in TRAIN_AUG[::-1])
    path.write_bytes(text.encode())
    prepare([voc], out=voc.parent)
    assert path.read_bytes() == text.encode()


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


@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='root may write')
def test_a_folder_that_cannot_be_written(refused, tmp_path) -> None:
    (tmp_path / 'out').mkdir(mode=0o500)
    assert 'cannot be written to (Permission denied)' in refused()


def test_stopped_anywhere_and_run_again_gives_the_same(
    prepare, voc, sbd, tmp_path, monkeypatch
) -> None:
    tar = pack_tar(voc.parent, tmp_path / 'v.tar')
    tgz = pack_tar(sbd, tmp_path / 's.tgz', 'w:gz')
    whole = files_of(prepare([tar], [tgz], tmp_path / 'whole').root)
    replace, out = Path.replace, tmp_path / 'stopped'
    count = 0
    for stop in range(1, len(whole) + 1, 4):
        written = 0

        def stopping(self: Path, target: Path, stop=stop) -> Path:
            nonlocal written
            written += 1
            if written == stop:
                raise KeyboardInterrupt
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, 'replace', stopping)
            with pytest.raises(KeyboardInterrupt):
                prepare([tar], [tgz], out)
        count += 1
        assert not load_json(out / 'VOC2012' / RECORD)['complete'] if stop > 1 else True
        if stop > 9:
            break
    assert count >= 3
    (out / 'VOC2012/JPEGImages/.left.1.part.jpg').write_bytes(b'half')
    assert files_of(prepare([tar], [tgz], out).root) == whole


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
    root = prepare([tar, tmp_path / 'mended']).root
    assert (root / f'JPEGImages/{name}').read_bytes() == whole


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


def test_another_year_beside_it_is_left_out(prepare, voc) -> None:
    expected = files_of(prepare().root)
    other = shutil.copytree(voc, voc.with_name('VOC2007'))
    (other / 'ImageSets/Segmentation/train.txt').write_text(f'{EXTRA}\n')
    found = files_of(prepare(out=voc.parents[2] / 'both').root)
    assert found == expected


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


def test_checksums_are_those_of_the_files(prepare) -> None:
    root = prepare().root
    lines = (root / CHECKSUMS).read_text().splitlines()
    expected = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files_of(root).items()
        if name not in (CHECKSUMS, RECORD)
    }
    assert {line[66:]: line[:64] for line in lines} == expected


def touch(folder: Path, names: list[str], suffix: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / f'{name}{suffix}').touch()


@pytest.mark.slow
def test_real_lists(shared: Path, tmp_path: Path) -> None:
    """The ids of VOC and 11,355 of SBD: train_aug is the field's list, to the order."""
    lists = {
        split: (shared / f'data/voc12_lists/{split}_id.txt').read_text().split()
        for split in ('train', 'train_aug', 'val', 'test')
    }
    own = [*lists['train'], *lists['val']]
    added = sorted({*lists['train_aug']} - {*own})
    voc = tmp_path / 'VOC2012'
    touch(voc / 'JPEGImages', [*added, *own, *lists['test']], '.jpg')
    touch(voc / 'Annotations', [*added, *own], '.xml')
    touch(voc / 'SegmentationClass', own, '.png')
    (voc / 'ImageSets/Segmentation').mkdir(parents=True)
    for split in ('train', 'val', 'test'):
        text = ''.join(f'{n}\n' for n in lists[split])
        (voc / f'ImageSets/Segmentation/{split}.txt').write_text(text)
    # SBD has all but 676 of VOC's own images: 9,118 + 2,913 - 676 = 11,355.
    cls = tmp_path / 'benchmark_RELEASE/dataset/cls'
    touch(cls, [*added, *own[676:]], '.mat')
    masks = SBDMasks(Pool([open_source(cls.parent.parent)]))
    devkit = Devkit(Pool([open_source(voc)]), masks, any_count=False)
    assert devkit.lists['train_aug'] == lists['train_aug']
    assert devkit.lists['val'] == lists['val']
    assert (len(devkit.labelled), len(devkit.sbd_ids)) == (10582 + 1449, 9118)
    (cls / f'{added[0]}.mat').unlink()
    masks = SBDMasks(Pool([open_source(cls.parent.parent)]))
    with pytest.raises(
        DataError, match='SBD has 11,354 images, the official one 11,355'
    ):
        Devkit(Pool([open_source(voc)]), masks, any_count=False)
