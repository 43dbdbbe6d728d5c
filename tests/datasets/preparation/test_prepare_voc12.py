"""VOC 2012 from its archives and folders, compared with what the rules say by hand."""

from __future__ import annotations

import hashlib
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
    files_of,
    make_test_devkit,
    pack_tar,
    pack_zip,
    sbd_mask,
    sbd_mat,
)
from PIL import Image
from trees import SIZE, half_mask

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.preparation import prepare_voc12
from wsss_plugins.datasets.preparation.opening import open_source
from wsss_plugins.datasets.preparation.sbd import SBDMasks
from wsss_plugins.datasets.preparation.sources import Pool
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


def test_another_year_beside_it_is_left_out(prepare, voc) -> None:
    expected = files_of(prepare().root)
    other = shutil.copytree(voc, voc.with_name('VOC2007'))
    (other / 'ImageSets/Segmentation/train.txt').write_text(f'{EXTRA}\n')
    found = files_of(prepare(out=voc.parents[2] / 'both').root)
    assert found == expected


def test_checksums_are_those_of_the_files(prepare) -> None:
    root = prepare().root
    lines = (root / CHECKSUMS).read_text().splitlines()
    expected = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files_of(root).items()
        if name not in (CHECKSUMS, RECORD)
    }
    assert {line[66:]: line[:64] for line in lines} == expected


def test_voc_sample(shared: Path, tmp_path: Path) -> None:
    """Three real photos: one trains, one is val, one is known from SBD only."""
    sample = shared / 'data/voc_sample/VOCdevkit/VOC2012'
    voc = tmp_path / 'VOCdevkit/VOC2012'
    names = ['2011_000003', '2011_000006', '2011_000025']
    masks = [load_label_map(sample / f'SegmentationClass/{name}.png') for name in names]
    for folder in ('ImageSets/Segmentation', 'Annotations', 'JPEGImages'):
        (voc / folder).mkdir(parents=True)
    for i, name in enumerate(names):
        shutil.copyfile(
            sample / f'JPEGImages/{name}.jpg', voc / f'JPEGImages/{name}.jpg'
        )
        (voc / f'Annotations/{name}.xml').write_text(annotation([('person', 0)]))
        if i < 2:
            save_label_map(voc / f'SegmentationClass/{name}.png', masks[i])
            split = voc / f'ImageSets/Segmentation/{("train", "val")[i]}.txt'
            split.write_text(f'{name}\n')
    plain = np.where(masks[2] == 255, 0, masks[2]).astype(np.uint8)
    (tmp_path / 'cls').mkdir()
    (tmp_path / f'cls/{names[2]}.mat').write_bytes(sbd_mat(plain))
    tar = pack_tar(voc.parent, tmp_path / 'voc.tar')
    done = prepare_voc12([tar], [tmp_path / 'cls'], tmp_path / 'out', any_count=True)
    dataset = VOC12(
        done.root, 'train_aug', label_maps='SegmentationClassAug', test_mode=True
    )
    assert dataset.ids == [names[0], names[2]]
    np.testing.assert_array_equal(dataset.load_mask(0), masks[0])
    np.testing.assert_array_equal(dataset.load_mask(1), plain)
    assert dataset.load_image(1).shape[:2] == plain.shape == (375, 500)


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
