"""Views of whole photos, crops of whole cells, batches of one size."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from PIL import Image

from wsss_plugins.datasets import (
    CropView,
    DrawNumber,
    FolderWSSS,
    LoadPhoto,
    LoadView,
    PackClassInputs,
    SameSizeBatches,
)
from wsss_plugins.errors import ConfigError
from wsss_plugins.structures.views import scaled, sides_of, view_of, view_size

SIZES = [(40, 70), (70, 40), (40, 70), (64, 64), (40, 70), (70, 40)]


@pytest.fixture
def dataset(tmp_path) -> FolderWSSS:
    random = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i, size in enumerate(SIZES):
        pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/{i}.png')
    rows = [f'{i}.png,a' for i in range(len(SIZES))]
    (tmp_path / 'all.csv').write_text('\n'.join(['file,tags', *rows]))
    return FolderWSSS(str(tmp_path), 'all', classes=['a'])


def test_pixels_do_not_depend_on_the_threads() -> None:
    """Kept features are found by the pixels of a view, to the last bit."""
    photo = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(view_of(photo, 32, 448, 1.25))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0].equal(found[1]) and found[0].equal(found[2])


@pytest.mark.parametrize('size', [(375, 500), (500, 333), (20, 700), (90, 90)])
@pytest.mark.parametrize('scale', [0.5, 1.0, 1.5])
@pytest.mark.parametrize('max_side', [None, 448])
def test_the_size_of_a_view_is_known_before(size, scale, max_side) -> None:
    photo = np.zeros((*size, 3), np.uint8)
    view = view_of(photo, 32, max_side, scale)
    assert tuple(view.shape[1:]) == view_size(size, 32, max_side, scale)
    assert not any(side % 32 for side in view.shape[1:])


def test_a_view_is_the_mirrored_photo() -> None:
    photo = np.random.randint(0, 256, (64, 96, 3), dtype=np.uint8)
    assert torch.equal(view_of(photo, 32).permute(1, 2, 0), torch.tensor(photo).float())
    assert torch.equal(view_of(photo, 32, flip=True), view_of(photo, 32).flip(-1))


def test_sides_are_rounded_and_never_zero() -> None:
    assert sides_of((47, 49), 32) == (32, 64)
    assert sides_of((5, 5), 32, 0.1) == (32, 32)
    images = torch.rand(1, 3, 32, 64)
    assert scaled(images, 1.0, 32) is images


def test_masks_follow_the_view(dataset) -> None:
    sample = dataset.get_data_info(0)
    mask = np.zeros((40, 70), np.uint8)
    mask[:, :35] = 1
    sample.update(gt_seg_map=mask, seg_fields=['gt_seg_map'])
    found = LoadView(flip=1.0)(sample)
    assert found['img'].shape == (32, 64, 3)
    assert found['img_shape'] == found['gt_seg_map'].shape == (32, 64)
    assert found['gt_seg_map'][:, 32:].all()
    assert not found['gt_seg_map'][:, :32].any()


def test_masks_may_be_coarser_than_the_view(dataset) -> None:
    sample = dataset.get_data_info(0)
    mask = np.kron(np.arange(8).reshape(2, 4), np.ones((20, 20))).astype(np.uint8)
    sample.update(gt_seg_map=mask[:, :70], seg_fields=['gt_seg_map'])
    found = LoadView(flip=0.0, label_stride=4)(sample)
    assert found['img_shape'] == (32, 64)
    assert found['gt_seg_map'].shape == (8, 16)
    assert found['gt_seg_map'][::7, ::15].tolist() == [[0, 3], [4, 7]]
    found = CropView((32, 96))(found)
    assert found['gt_seg_map'].shape == (8, 24)
    assert (found['gt_seg_map'] == 255).sum() == 8 * 8  # a column of cells is padding


@pytest.mark.parametrize('stride', [0, 5, 64])
def test_coarse_masks_of_part_of_a_cell_are_refused(stride) -> None:
    with pytest.raises(ConfigError, match='label_stride of LoadView must divide'):
        LoadView(label_stride=stride)


def test_a_test_is_neither_mirrored_nor_scaled(dataset) -> None:
    sample = dict(dataset.get_data_info(0), test_mode=True)
    view = LoadView(scales=(0.5, 2.0), flip=1.0)
    found = view(sample)
    plain = LoadView(flip=0.0)(dataset.get_data_info(0))
    assert np.array_equal(found['img'], plain['img'])


def test_scales_are_drawn(dataset) -> None:
    view = LoadView(scales=(0.5, 2.0))
    shapes = {view(dataset.get_data_info(0))['img_shape'] for _ in range(20)}
    assert shapes == {(32, 32), (64, 128)}


@pytest.mark.parametrize('per_cell', [32, 1])
def test_crops_are_of_whole_cells_in_photo_and_mask(per_cell) -> None:
    cells = np.arange(1, 13).reshape(3, 4)
    mask = np.kron(cells, np.ones((32, 32))).astype(np.uint8)
    image = np.kron(cells, np.ones((per_cell, per_cell)))[..., None].repeat(3, 2)
    sample = dict(img=image, img_shape=(96, 128), seg_fields=['m'], m=mask)
    found = CropView((64, 160))(sample)
    assert found['img'].shape[:2] == (2 * per_cell, 5 * per_cell)
    assert found['m'].shape == found['img_shape'] == (64, 160)
    corners = found['img'][::per_cell, ::per_cell, 0]
    labels = found['m'][::32, ::32]
    inside = labels != 255
    assert np.array_equal(corners[inside], labels[inside])
    assert inside.sum() == 8  # two rows of four; the fifth column is padding
    values = corners[inside].reshape(2, 4)
    assert np.array_equal(values[1] - values[0], [4] * 4)


def test_crops_of_part_of_a_cell_are_refused() -> None:
    with pytest.raises(ConfigError, match='multiples of 32, not'):
        CropView(100)


@pytest.mark.parametrize(
    'options', [dict(scales=()), dict(scales=(0.0,)), dict(flip=1.5)]
)
def test_wrong_views_are_refused(options) -> None:
    with pytest.raises(ConfigError, match='LoadView needs'):
        LoadView(**options)


def test_batches_are_of_one_size_and_complete(dataset) -> None:
    batches = SameSizeBatches(DefaultSampler(dataset, seed=3), 2, max_side=64)
    for epoch in range(3):
        batches.sampler.set_epoch(epoch)
        found = list(batches)
        assert len(found) == len(batches)
        assert sorted(chain(*found)) == list(range(6))
        assert all(len({SIZES[i] for i in batch}) == 1 for batch in found)
    orders = set()
    for epoch in range(5):
        batches.sampler.set_epoch(epoch)
        orders.add(str(list(batches)))
    assert len(orders) > 1


def test_two_workers_see_what_one_sees_in_twice_the_batch(dataset) -> None:
    one = list(SameSizeBatches(DefaultSampler(dataset, seed=1), 2, max_side=64))
    shares = []
    for own in range(2):
        sampler = DefaultSampler(dataset, seed=1)
        sampler.rank, sampler.world_size = own, 2
        shares.append(list(SameSizeBatches(sampler, 1, max_side=64)))
    assert len(shares[0]) == len(shares[1]) == len(one)
    for batch, parts in zip(one, zip(*shares, strict=True), strict=True):
        assert set(batch) == set(chain(*parts))
    assert Counter(chain(*one)) == Counter(range(6))


@pytest.mark.parametrize('mirrored', [False, True])
def test_the_photo_of_a_view_follows_it(dataset, mirrored: bool) -> None:
    """Its pixels are those of the view, at half the size, and it is cropped with it."""
    sample = dataset.get_data_info(0)
    view = LoadView(32, max_side=96, flip=float(mirrored))(dict(sample))
    found = LoadPhoto(stride=2)(view)
    half = [side // 2 for side in found['img_shape']]
    assert found['photo'].dtype == np.uint8 and found['photo'].shape == (*half, 3)
    small = found['img'].reshape(half[0], 2, half[1], 2, 3).mean((1, 3))
    likeness = [
        np.corrcoef(small.ravel(), photo.ravel())[0, 1]
        for photo in (found['photo'], found['photo'][:, ::-1])
    ]
    assert likeness[0] > 0.8 > likeness[1]
    size = tuple(side + 32 for side in found['img_shape'])
    before = found['photo'].copy()
    padded = CropView(size)(found)
    y0, y1, x0, x1 = padded['img_box']
    assert (y1 - y0, x1 - x0) == (size[0] - 32, size[1] - 32)
    inside = padded['photo'][y0 // 2 : y1 // 2, x0 // 2 : x1 // 2]
    np.testing.assert_array_equal(inside, before)
    packed = PackClassInputs()(padded | dict(gt_label=np.ones(1, np.float32)))
    assert packed['data_samples'].photo.shape == (3, size[0] // 2, size[1] // 2)
    assert packed['data_samples'].img_box == (y0, y1, x0, x1)


def test_a_stride_of_the_photo_below_1_is_refused() -> None:
    with pytest.raises(ConfigError, match='stride >= 1, not 0'):
        LoadPhoto(stride=0)


def test_a_number_follows_from_the_random_state() -> None:
    drawn = []
    for seed in (3, 3, 4):
        np.random.seed(seed)
        drawn.append(DrawNumber()({})['draw'])
    assert drawn[0] == drawn[1] != drawn[2]
