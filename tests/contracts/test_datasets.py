"""What every data set of ours keeps, whatever its layout on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from imagenet_trees import GOLDFISH, TENCH, make_imagenet, make_imagenet_seg
from mmengine.dataset import BaseDataset
from PIL import Image
from trees import half_mask, make_coco, make_folder, make_voc, square

import wsss_plugins.datasets  # noqa: F401  (registers)
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import DataError
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.structures import save_label_map


def voc(root: Path) -> dict:
    make_voc(root, {'a': ['dog', 'person'], 'b': ['tvmonitor']})
    return dict(type='VOC12', data_root=root, split='train')


def coco(root: Path) -> dict:
    make_coco(root, ['a.jpg', 'b.jpg'], [square(1), square(90), square(2, 2)])
    return dict(type='COCO14', data_root=root, split='train2014')


def folder(root: Path) -> dict:
    make_folder(root, [('a.jpg', 'dog;person'), ('b.jpg', 'tv')])
    return dict(type='FolderWSSS', data_root=root, split='train')


def imagenet(root: Path) -> dict:
    make_imagenet(root, dict(b=TENCH, a=GOLDFISH))
    return dict(type='ImageNet', data_root=root)


def imagenet_seg(root: Path) -> dict:
    make_imagenet_seg(root / 'gtsegs_ijcv.mat', dict(a=GOLDFISH, b=TENCH))
    return dict(type='ImageNetSeg', data_root=root)


TREES: dict[str, Callable[[Path], dict]] = {
    'VOC12': voc,
    'COCO14': coco,
    'FolderWSSS': folder,
    'ImageNet': imagenet,
    'ImageNetSeg': imagenet_seg,
}
SHOWN = {name: [1, 1] for name in ('ImageNet', 'ImageNetSeg')}
"""How many classes ``a`` and ``b`` show where it is not 2 and 1."""
IN_ONE_FILE = {'ImageNetSeg': half_mask(1) == 1}
"""Data sets whose images and masks are no files of their own, and such a mask."""
SEGMENTATION = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]


@pytest.fixture(params=sorted(TREES))
def cfg(request: pytest.FixtureRequest, tmp_path: Path) -> dict:
    cfg = TREES[request.param](tmp_path)
    for name, value in (('a', 1), ('b', 3)):
        save_label_map(tmp_path / 'pseudo' / f'{name}.png', half_mask(value))
    return cfg


@pytest.fixture
def files(cfg: dict) -> dict:
    """Only data sets whose images are files, as pipelines read them."""
    if cfg['type'] in IN_ONE_FILE:
        with pytest.raises(DataError, match='takes no pipeline'):
            build(cfg, pipeline=SEGMENTATION)
        pytest.skip('its images are no files of their own')
    return cfg


def build(cfg: dict, **more: object) -> WSSSDataset:
    return build_as(DATASETS, {**cfg, **more}, WSSSDataset)


def test_every_registered_data_set_is_tested_here() -> None:
    DATASETS.import_from_location()
    ours = {
        name
        for name, cls in DATASETS.module_dict.items()
        if issubclass(cls, BaseDataset)
    }
    assert ours == set(TREES)


def test_samples(cfg: dict) -> None:
    dataset = build(cfg)
    count = len(dataset.foreground_classes)
    assert dataset.metainfo['classes'] == ('background', *dataset.foreground_classes)
    assert len(dataset.metainfo['palette']) == count + 1
    assert dataset.ids == ['a', 'b']
    for i, shown in enumerate(SHOWN.get(cfg['type'], [2, 1])):
        sample = dataset[i]
        assert set(sample) == {'img_path', 'img_id', 'gt_label', 'sample_idx'}
        assert sample['img_path'] == str(dataset.image_path(i))
        label = sample['gt_label']
        assert label.shape == (count,) and label.dtype == np.float32
        assert label.sum() == shown and set(label.tolist()) <= {0, 1}
        np.testing.assert_array_equal(label, dataset.labels(i))


def test_images_are_rgb_and_not_square(cfg: dict) -> None:
    dataset = build(cfg)
    image = dataset.load_image(0)
    assert image.shape == (6, 10, 3) and image.dtype == np.uint8
    assert dataset.image_size(0) == (6, 10)
    if cfg['type'] in IN_ONE_FILE:
        return
    with Image.open(dataset.image_path(0)) as opened:
        np.testing.assert_array_equal(image, np.array(opened))


def test_pseudo_labels_through_mmsegs_own_pipeline(files: dict) -> None:
    dataset = build(files, label_maps='pseudo', pipeline=SEGMENTATION)
    packed = dataset[1]
    assert packed['inputs'].shape == (3, 6, 10)
    rgb = dataset.load_image(1).transpose(2, 0, 1)
    np.testing.assert_array_equal(packed['inputs'].numpy()[::-1], rgb)  # BGR
    seen = packed['data_samples'].gt_sem_seg.data
    np.testing.assert_array_equal(seen[0].numpy(), half_mask(3))
    assert packed['data_samples'].seg_map_path.endswith('pseudo/b.png')


def test_pseudo_labels_through_ours(files: dict) -> None:
    ours = [dict(type='LoadImage'), dict(type='LoadLabelMap'), SEGMENTATION[-1]]
    dataset = build(files, label_maps='pseudo', pipeline=ours)
    seen = dataset[0]['data_samples'].gt_sem_seg.data[0].numpy()
    np.testing.assert_array_equal(seen, half_mask(1))
    np.testing.assert_array_equal(
        dataset[0]['inputs'][0], dataset.load_image(0)[..., 0]
    )


def test_training_never_sees_ground_truth(cfg: dict) -> None:
    dataset = build(cfg)
    assert dataset.ground_truth_folders
    for name in dataset.ground_truth_folders:
        with pytest.raises(DataError, match='training on ground-truth masks'):
            build(cfg, label_maps=name)
        for sub in ('a', 'b'):
            path = Path(cfg['data_root']) / name / f'{sub}.png'
            save_label_map(path, half_mask(2))
        expected = IN_ONE_FILE.get(cfg['type'], half_mask(2))
        for allowed in (dict(test_mode=True), dict(allow_ground_truth=True)):
            evaluated = build(cfg, label_maps=name, **allowed)
            np.testing.assert_array_equal(evaluated.load_mask(0), expected)


def test_a_sample_is_a_fresh_copy(cfg: dict) -> None:
    dataset = build(cfg, label_maps='pseudo')
    sample = dataset[0]
    sample['gt_label'][:] = 7
    sample['seg_fields'].append('gt_seg_map')
    assert dataset.labels(0).max() == 1 and dataset[0]['seg_fields'] == []


def test_missing_root_says_what_to_do(cfg: dict) -> None:
    with pytest.raises(DataError) as caught:
        build(cfg, data_root=Path(cfg['data_root']) / 'nowhere')
    assert 'nowhere does not exist: ' in str(caught.value)
    assert len(str(caught.value).split(': ', 1)[1]) > 20
