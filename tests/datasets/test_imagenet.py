from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from imagenet_trees import (
    GOLDFISH,
    SHARK,
    TENCH,
    make_devkit,
    make_flat_imagenet,
    make_imagenet,
    make_imagenet_seg,
)
from scipy.io import savemat
from trees import half_mask, save_image

from wsss_plugins.datasets import ImageNet, ImageNetSeg
from wsss_plugins.datasets.imagenet import imagenet_classes
from wsss_plugins.errors import DataError
from wsss_plugins.structures import save_label_map

WNIDS = [SHARK, TENCH, GOLDFISH, TENCH]
FLAT = [f'ILSVRC2012_val_{i:08}' for i in (1, 2, 3, 4)]


def message(cls: type, root: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        cls(root, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


# Classification -----------------------------------------------------------------------


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return make_flat_imagenet(tmp_path / 'flat', WNIDS)


def test_classes_are_those_of_the_classifiers_of_timm_and_torchvision() -> None:
    classes = imagenet_classes()
    assert len(classes) == 1000 and list(classes) == sorted(classes)
    known = {0: TENCH, 207: 'n02099601', 281: 'n02123045', 999: 'n15075141'}
    assert {c: classes[c] for c in known} == known  # golden retriever, tabby, tissue


def test_both_layouts_are_the_same_data_set(tmp_path: Path, flat: Path) -> None:
    sorted_root = make_imagenet(
        tmp_path / 'sorted', dict(zip(FLAT, WNIDS, strict=True))
    )
    one, other = ImageNet(flat), ImageNet(sorted_root)
    for dataset in (one, other):
        assert dataset.ids == FLAT  # by name, so that the first ones are of all classes
        labels = np.stack([dataset.labels(i) for i in range(4)])
        assert labels.shape == (4, 1000) and labels.sum() == 4
        assert labels.argmax(1).tolist() == [2, 0, 1, 0]
    assert one.digest() == other.digest()
    for i in range(4):
        np.testing.assert_array_equal(one.load_image(i), other.load_image(i))


def test_a_part_of_the_flat_layout_keeps_its_labels(flat: Path) -> None:
    (flat / f'val/{FLAT[0]}.JPEG').unlink()
    dataset = ImageNet(flat)
    assert dataset.ids == FLAT[1:]
    assert [int(dataset.labels(i).argmax()) for i in range(3)] == [0, 1, 0]


def test_devkit_elsewhere(tmp_path: Path, flat: Path) -> None:
    folder = flat / 'ILSVRC2012_devkit_t12/data'
    for file in folder.iterdir():
        file.rename(flat / file.name)
    assert ImageNet(flat).ids == FLAT
    shutil.rmtree(flat / 'ILSVRC2012_devkit_t12')
    for name in ('ILSVRC2012_validation_ground_truth.txt', 'meta.mat'):
        (flat / name).unlink()
    make_devkit(tmp_path / 'kit', WNIDS[::-1])
    dataset = ImageNet(flat, devkit=tmp_path / 'kit')
    assert [int(dataset.labels(i).argmax()) for i in range(4)] == [0, 1, 0, 2]


def test_flat_without_labels_says_what_to_fetch(flat: Path) -> None:
    data = flat / 'ILSVRC2012_devkit_t12/data'
    (data / 'meta.mat').unlink()
    text = message(ImageNet, flat)
    assert (
        f'{flat}/val has no folders of classes, and without meta.mat in {data}' in text
    )
    assert 'unpack ILSVRC2012_devkit_t12.tar.gz of image-net.org' in text
    shutil.rmtree(data)
    assert (
        'without ILSVRC2012_validation_ground_truth.txt and meta.mat in' in (
            message(ImageNet, flat)
        )
    )  # fmt: skip


def test_ground_truth_that_does_not_fit(flat: Path) -> None:
    data = flat / 'ILSVRC2012_devkit_t12/data'
    truth = data / 'ILSVRC2012_validation_ground_truth.txt'
    for wrong in ('1\n2\n3\n', '1\n2\n3\n77\n', '1\n2\n3\nfish\n'):
        truth.write_text(wrong)
        assert f'{truth} has {len(wrong.split())} lines and does not fit' in message(
            ImageNet, flat
        )
    truth.write_text('1\n2\n3\n1001\n')
    assert "val has images of the unknown class 'n02512053'" in message(ImageNet, flat)
    savemat(data / 'meta.mat', dict(other=1))
    assert (
        "meta.mat is no table of synsets with ILSVRC2012_ID and WNID ('synsets')"
        in (message(ImageNet, flat))
    )
    (data / 'meta.mat').write_text('no such file')
    assert 'meta.mat is no table of synsets' in message(ImageNet, flat)
    save_image(flat / 'val/tench.JPEG')
    make_devkit(flat / 'kit', WNIDS)
    assert 'val/tench.JPEG is not named as ILSVRC2012_val_00000293.JPEG' in message(
        ImageNet, flat, devkit='kit'
    )


def test_folder_that_is_no_class(tmp_path: Path) -> None:
    root = make_imagenet(tmp_path, dict(a=TENCH, b='n01440765'))
    text = message(ImageNet, root)
    assert "has images of the unknown class 'n01440765': did you mean 'n0144" in text


def test_counts_and_missing_splits(tmp_path: Path) -> None:
    root = make_imagenet(tmp_path, dict(a=TENCH))
    text = message(ImageNet, root, verify_count=True)
    assert 'val has 1 images, the official split 50000' in text
    assert 'unpack ILSVRC2012_img_val.tar' in message(ImageNet, root, split='train')
    (root / 'empty').mkdir()
    assert 'empty has no folders of classes' in message(ImageNet, root, split='empty')


# Segmentation -------------------------------------------------------------------------

TARGETS = {'n02_7': SHARK, 'n01_1': TENCH, 'n02_9': SHARK}


def test_images_masks_and_classes_of_the_file(tmp_path: Path) -> None:
    images = make_imagenet_seg(tmp_path / 'gtsegs_ijcv.mat', TARGETS)
    dataset = ImageNetSeg(tmp_path, label_maps='gt', test_mode=True)
    assert dataset.ids == list(TARGETS)
    assert dataset.foreground_classes == (TENCH, SHARK)
    for i, name in enumerate(TARGETS):
        image = dataset.load_image(i)
        np.testing.assert_array_equal(image, images[name])
        assert image.shape[:2] == dataset.image_size(i) == (6, 10)
        mask = dataset.load_mask(i)
        np.testing.assert_array_equal(mask, half_mask(1) == 1)
        assert mask.dtype == np.uint8
        assert int(dataset.labels(i).argmax()) == [1, 0, 1][i]
    some = ImageNetSeg(tmp_path, label_maps='gt', test_mode=True, indices=[2, 1])
    np.testing.assert_array_equal(some.load_image(0), images['n02_9'])


def test_masks_of_the_file_are_for_evaluation(tmp_path: Path) -> None:
    make_imagenet_seg(tmp_path / 'gtsegs_ijcv.mat', TARGETS)
    assert 'training on ground-truth masks' in message(
        ImageNetSeg, tmp_path, label_maps='gt'
    )
    with pytest.raises(DataError, match='give label_maps=FOLDER'):
        ImageNetSeg(tmp_path).load_mask(0)
    for name in TARGETS:
        save_label_map(tmp_path / f'mine/{name}.png', half_mask(2))
    mine = ImageNetSeg(tmp_path, label_maps='mine')
    np.testing.assert_array_equal(mine.load_mask(0), half_mask(2))


def test_no_pipeline_can_read_it(tmp_path: Path) -> None:
    make_imagenet_seg(tmp_path / 'gtsegs_ijcv.mat', TARGETS)
    assert 'ImageNetSeg takes no pipeline' in message(
        ImageNetSeg, tmp_path, pipeline=[dict(type='LoadImage')]
    )


def test_a_layout_that_differs_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'gtsegs_ijcv.mat'
    assert f'{path} does not exist: download gtsegs_ijcv.mat' in message(
        ImageNetSeg, tmp_path
    )
    make_imagenet_seg(path, TARGETS)
    assert 'has 3 images, the official file 4276' in message(
        ImageNetSeg, tmp_path, verify_count=True
    )
    with h5py.File(path, 'a') as file:
        del file['value/target'], file['value/gt']
    assert f'{path} lacks value/gt, value/target: it has value/id, value/img;' in (
        message(ImageNetSeg, tmp_path)
    )
    with h5py.File(path, 'a') as file:
        del file['value']
        file['images'] = [1]
    assert 'lacks value/img, value/gt, value/id, value/target: it has #refs#' in (
        message(ImageNetSeg, tmp_path)
    )
    make_imagenet_seg(path, TARGETS)
    with h5py.File(path, 'a') as file:
        del file['value/img']
        file['value/img'] = np.zeros((3, 4))
    assert 'value/img is float64 of shape (3, 4), not references of shape' in message(
        ImageNetSeg, tmp_path
    )


def test_a_file_that_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / 'gtsegs_ijcv.mat'
    make_imagenet_seg(path, TARGETS)
    path.write_bytes(path.read_bytes()[:-100])
    assert f'{path} is no whole HDF5 file, as MATLAB 7.3 writes them' in message(
        ImageNetSeg, tmp_path
    )
    path.write_text('<html>not found</html>')
    assert 'is no whole HDF5 file' in message(ImageNetSeg, tmp_path)


def test_a_broken_image_or_mask_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'gtsegs_ijcv.mat'
    make_imagenet_seg(path, TARGETS, masks={'n02_7': half_mask(2)})
    dataset = ImageNetSeg(tmp_path, label_maps='gt', test_mode=True)
    with pytest.raises(DataError, match=r"ijcv.mat: 'n02_7' has a mask .* up to 255"):
        dataset.load_mask(0)
    with h5py.File(path, 'a') as file:
        file['value/img'][1, 0] = h5py.Reference()
        file['value/img'][2, 0] = file['value/id'][2, 0]
    with pytest.raises(DataError, match=r"'n01_1' has no readable value/img"):
        dataset.load_image(1)
    with pytest.raises(DataError, match=r"'n02_9' has an image of shape \(5, 1\)"):
        dataset.load_image(2)
    dataset.load_image(0)
