"""Confident scores on their way to the labels of AffinityNet, and colour jitter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import RandomFlip, Resize
from PIL import Image

from wsss_plugins.config import load_config
from wsss_plugins.datasets import (
    ColorJitter,
    LoadConfidentScores,
    PoolConfidentLabels,
    RandomCropPad,
    ResizeWithScores,
)
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.structures import save_npz

PSA = Path(__file__).parents[2] / 'configs/psa'


def sample(stage: Path, size: tuple[int, int] = (12, 18)) -> dict:
    (stage / 'labels').mkdir(parents=True, exist_ok=True)
    return dict(
        img=np.zeros((*size, 3), np.uint8), img_id='a', seg_fields=[],
        seg_map_path=str(stage / 'labels/a.png'), ori_shape=size, img_shape=size,
    )  # fmt: skip


def quarters(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Left half object under both backgrounds, upper right one only under the weak."""
    low, high = np.zeros((2, 2, *size), np.uint8)
    half = size[1] // 2
    low[1, :, :half] = low[0, :, half:] = high[1, :, :half] = 255
    high[1, : size[0] // 2, half:] = high[0, size[0] // 2 :, half:] = 255
    return dict(low=low, high=high, classes=np.array([4]))


def test_through_the_whole_chain(tmp_path: Path) -> None:
    save_npz(tmp_path / 'scores/a.npz', quarters((12, 18)))
    results = LoadConfidentScores()(sample(tmp_path))
    assert results['gt_seg_map'].shape == (12, 18, 4)
    assert results['gt_seg_map'].max() == 1
    results = Resize(scale=(24, 16), keep_ratio=False)(results)
    results = RandomFlip(prob=1.0)(results)
    np.random.seed(3)
    results = RandomCropPad(24, seg_pad=0)(results)
    rows = results['gt_seg_map'].any((1, 2)).nonzero()[0]
    assert len(rows) == 16, 'eight rows of padding'
    results['gt_seg_map'] = np.roll(results['gt_seg_map'], -rows[0], 0)
    label = PoolConfidentLabels(4)(results)['gt_seg_map']
    right, unsure, background = [1] * 3, [255] * 3, [0] * 3
    wanted = [unsure + right] * 2 + [background + right] * 2 + [unsure * 2] * 2
    assert label.tolist() == wanted and label.dtype == np.uint8


def test_scores_are_resized_bilinearly() -> None:
    """As the photo beside them, with 42 channels; mmcv's Resize takes the nearest."""
    ramp = np.linspace(0, 1, 16, dtype=np.float32)[None, :, None]
    scores = np.repeat(np.repeat(ramp, 8, 0), 42, 2)
    photo = np.repeat((ramp * 255).astype(np.uint8).repeat(8, 0), 3, 2)

    def resized(kind: type) -> dict:
        return kind(scale=(28, 14), keep_ratio=False)(
            dict(img=photo, gt_seg_map=scores, seg_fields=['gt_seg_map'])
        )

    found = resized(ResizeWithScores)['gt_seg_map']
    places = (np.arange(28) + 0.5) * 16 / 28 - 0.5
    wanted = np.interp(places, np.arange(16), ramp[0, :, 0])
    assert found.shape == (14, 28, 42) and found.dtype == np.float32
    assert np.abs(found - wanted[None, :, None]).max() < 1e-6
    assert np.abs(resized(Resize)['gt_seg_map'] - wanted[None, :, None]).max() > 0.01
    assert np.abs(resized(Resize)['img'] / 255 - wanted[None, :, None]).max() < 0.01


def test_the_released_resize_of_scores_is_configured() -> None:
    """ReScience's table 4; the crops of PSA are not resized."""
    steps = load_config(PSA / 'voc_affinity.py').train_dataloader.dataset.pipeline
    assert [s['type'] for s in steps].count(ResizeWithScores) == 1
    steps = load_config(
        PSA / 'voc_affinity_resnet38.py'
    ).train_dataloader.dataset.pipeline
    assert not any(issubclass(s['type'], Resize) for s in steps)


def test_pooling_decides_by_the_mean() -> None:
    scores = np.zeros((2, 2, 4), np.float32)
    scores[0, 0] = [0, 1, 0, 1]  # one sure pixel against three that are 0.3 to 0.1
    scores[..., 0] += [[0, 0.3], [0.3, 0.3]]
    scores[..., 1] += [[0, 0.1], [0.1, 0.1]]
    scores[..., 2:] = scores[..., :2]
    assert PoolConfidentLabels(2)(dict(gt_seg_map=scores))['gt_seg_map'] == [[1]]


def test_refuses_scores_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match='does not exist'):
        LoadConfidentScores()(sample(tmp_path))
    save_npz(tmp_path / 'scores/a.npz', quarters((12, 16)))
    with pytest.raises(DataError, match=r'a\.npz has scores \(2, 12, 16\)'):
        LoadConfidentScores()(sample(tmp_path))
    save_npz(tmp_path / 'scores/a.npz', dict(scores=np.zeros((1, 12, 18))))
    with pytest.raises(DataError, match='lacks high and low'):
        LoadConfidentScores()(sample(tmp_path))
    with pytest.raises(DataError, match=r'\(12, 18\) do not fit cells of 8'):
        PoolConfidentLabels(8)(dict(gt_seg_map=np.zeros((12, 18, 4))))
    with pytest.raises(ConfigError, match='stride'):
        PoolConfidentLabels(0)


def test_jitter_is_that_of_torchvision() -> None:
    functional = pytest.importorskip('torchvision.transforms.functional')
    pixels = np.random.randint(0, 256, (9, 13, 3), np.uint8)
    np.random.seed(5)
    ours = ColorJitter()(dict(img=pixels.copy()))['img']
    np.random.seed(5)
    wanted = Image.fromarray(pixels)
    names = ('brightness', 'contrast', 'saturation', 'hue')
    for step in np.random.permutation(4):
        middle, reach = (0, 0.1) if step == 3 else (1, 0.3)
        factor = np.random.uniform(middle - reach, middle + reach)
        wanted = getattr(functional, f'adjust_{names[step]}')(wanted, factor)
    assert np.array_equal(ours, wanted)
    assert not np.array_equal(ours, pixels)


def test_jitter_of_nothing_changes_nothing() -> None:
    pixels = np.random.randint(0, 256, (9, 13, 3), np.uint8)
    grey = np.repeat(pixels[..., :1], 3, 2)
    assert np.array_equal(ColorJitter(0, 0, 0, 0)(dict(img=grey))['img'], grey)
    with pytest.raises(ConfigError, match='ColorJitter needs'):
        ColorJitter(hue=0.6)
    with pytest.raises(ConfigError, match='ColorJitter needs'):
        ColorJitter(contrast=-0.1)
