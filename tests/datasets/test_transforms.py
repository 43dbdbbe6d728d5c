from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.datasets.transforms import PhotoMetricDistortion
from PIL import Image
from trees import half_mask, make_voc, save_image

from wsss_plugins.datasets import (
    VOC12,
    LoadImage,
    LoadLabelMap,
    PackClassInputs,
    RandomCropPad,
    ResizeLongSide,
)
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.structures import save_label_map


def sample(size: tuple[int, int], **more: object) -> dict:
    image = np.arange(size[0] * size[1] * 3).reshape(*size, 3) % 251 + 1
    return dict(img=image.astype(np.uint8), img_shape=size, **more)


def test_load_image_is_rgb_whatever_the_file(tmp_path: Path) -> None:
    pixels = save_image(tmp_path / 'a.png')
    results = LoadImage()(dict(img_path=str(tmp_path / 'a.png')))
    np.testing.assert_array_equal(results['img'], pixels)
    assert results['img_shape'] == results['ori_shape'] == (6, 10)
    for mode in ('L', 'P', 'RGBA'):
        picture = Image.new('RGB', (10, 6), (204, 204, 204)).convert(mode)
        picture.save(tmp_path / 'b.png')
        image = LoadImage()(dict(img_path=str(tmp_path / 'b.png')))['img']
        assert image.shape == (6, 10, 3) and (abs(image.astype(int) - 204) < 3).all()


def test_load_image_applies_the_cameras_rotation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new('RGB', (10, 6)).save(tmp_path / 'a.jpg', exif=exif)
    assert LoadImage()(dict(img_path=str(tmp_path / 'a.jpg')))['img_shape'] == (10, 6)


def test_load_image_names_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / 'a.jpg').write_bytes(b'\xff\xd8 nothing')
    with pytest.raises(DataError, match=r'image .*a.jpg cannot be decoded'):
        LoadImage()(dict(img_path=str(tmp_path / 'a.jpg')))


def test_load_label_map_checks_the_values(tmp_path: Path) -> None:
    save_label_map(tmp_path / 'a.png', half_mask(3))
    given = dict(seg_map_path=str(tmp_path / 'a.png'), seg_fields=[])
    results = LoadLabelMap()({**given, 'gt_label': np.zeros(3, np.float32)})
    np.testing.assert_array_equal(results['gt_seg_map'], half_mask(3))
    assert results['seg_fields'] == ['gt_seg_map']
    with pytest.raises(DataError, match=r'a.png has the value 3: allowed are 0 to 2'):
        LoadLabelMap()({**given, 'gt_label': np.zeros(2, np.float32)})


def test_resize_long_side_draws_every_length_evenly() -> None:
    np.random.seed(0)
    transform = ResizeLongSide(20, 23)
    counts = dict.fromkeys(range(20, 24), 0)
    for _ in range(400):
        results = transform(sample((8, 10)))
        height, width = results['img'].shape[:2]
        assert results['img_shape'] == (height, width)
        assert abs(height - width * 0.8) <= 0.5
        counts[width] += 1
    assert min(counts.values()) > 70


def test_resize_long_side_takes_the_label_map_along() -> None:
    mask = half_mask(7, (12, 6))
    results = ResizeLongSide(24, 24)(sample((12, 6), gt_seg_map=mask))
    assert results['img'].shape == (24, 12, 3)
    expected = np.repeat(np.repeat(mask, 2, 0), 2, 1)
    np.testing.assert_array_equal(results['gt_seg_map'], expected)


def test_resize_long_side_refuses_an_empty_range() -> None:
    with pytest.raises(ConfigError, match='low=5, high=4'):
        ResizeLongSide(5, 4)


@pytest.mark.parametrize('size', [(6, 10), (3, 4), (9, 12), (4, 15), (8, 7)])
def test_random_crop_pad_moves_image_and_labels_alike(size: tuple[int, int]) -> None:
    np.random.seed(1)
    for _ in range(20):
        given = sample((6, 10), seg_fields=['gt_seg_map'])
        given['gt_seg_map'] = given['img'][..., 0].copy()
        original = given['img'].copy()
        results = RandomCropPad(size, pad=(0, 0, 0), seg_pad=0)(given)
        assert results['img'].shape == (*size, 3) and results['img_shape'] == size
        np.testing.assert_array_equal(results['gt_seg_map'], results['img'][..., 0])
        inside = results['gt_seg_map'] > 0
        assert inside.sum() == min(size[0], 6) * min(size[1], 10)
        y0, y1, x0, x1 = results['img_box']
        assert inside[y0:y1, x0:x1].all() and inside.sum() == (y1 - y0) * (x1 - x0)
        kept = results['img'][inside].reshape(min(size[0], 6), min(size[1], 10), 3)
        windows = np.lib.stride_tricks.sliding_window_view(
            original, (*kept.shape[:2], 3)
        )
        assert (windows[:, :, 0] == kept).all((2, 3, 4)).any()


def test_random_crop_pad_reaches_every_offset() -> None:
    np.random.seed(2)
    seen = set()
    for _ in range(300):
        results = RandomCropPad((8, 10), pad=(0, 0, 0))(sample((6, 13)))
        row = int(results['img'].any((1, 2)).argmax())
        seen.add((row, int(results['img'][row, 0, 0])))
    assert len(seen) == 3 * 4


def test_random_crop_pad_fills_with_the_given_values() -> None:
    given = sample((2, 2), seg_fields=['gt_seg_map'])
    given['gt_seg_map'] = np.zeros((2, 2), np.uint8)
    results = RandomCropPad(4, pad=(1, 2, 3))(given)
    outside = results['gt_seg_map'] == 255
    assert outside.sum() == 12
    assert (results['img'][outside] == (1, 2, 3)).all()


def test_same_seed_same_crop() -> None:
    crops = []
    for _ in range(2):
        np.random.seed(5)
        crops.append(RandomCropPad(4)(ResizeLongSide(8, 20)(sample((6, 10))))['img'])
    np.testing.assert_array_equal(*crops)


def test_pack_class_inputs() -> None:
    given = sample((6, 10), img_id='a', img_path='a.jpg', ori_shape=(12, 20))
    given.update(gt_label=np.array([0, 1, 1], np.float32), flip=True)
    packed = PackClassInputs()(given)
    assert packed['inputs'].dtype == torch.uint8
    np.testing.assert_array_equal(packed['inputs'][1].numpy(), given['img'][..., 1])
    element = packed['data_samples']
    assert element.gt_label.tolist() == [0, 1, 1]
    assert element.metainfo == dict(
        img_id='a', img_path='a.jpg', ori_shape=(12, 20), img_shape=(6, 10)
    )


def test_colour_jitter_of_mmseg_commutes_with_channel_order() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    shift = PhotoMetricDistortion(hue_delta=0)
    results = []
    for order in (slice(None), slice(None, None, -1)):
        np.random.seed(3)
        jittered = shift(dict(img=image[..., order].copy()))['img'][..., order]
        results.append(jittered.astype(int))
    assert abs(results[0] - results[1]).max() <= 4


def test_pipelines_of_configs_run_ours_and_mmsegs(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {'a': ['dog'], 'b': ['cat']})
    pipeline = [
        dict(type='LoadImage'),
        dict(type='ResizeLongSide', low=12, high=16),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='RandomCropPad', size=(8, 12)),
        dict(type='PackClassInputs'),
    ]
    packed = VOC12(root, 'train', pipeline=pipeline)[1]
    assert packed['inputs'].shape == (3, 8, 12)
    assert packed['data_samples'].img_id == 'b'
    assert packed['data_samples'].ori_shape == (6, 10)
