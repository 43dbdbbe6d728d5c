"""Label maps keep the background that their seeds had, or it is said."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trees import make_voc

from wsss_plugins.metrics import SeedIoU, usual_thresholds
from wsss_plugins.refiners import Refiner
from wsss_plugins.registry import REFINERS
from wsss_plugins.stages import EvaluateSeedStage, RefineStage
from wsss_plugins.stages.background_share import background_doubts
from wsss_plugins.stages.refine import rounded
from wsss_plugins.structures import Seed, save_label_map
from wsss_plugins.structures.layout import seed_path

SIZE = (20, 30)


class AllForeground(Refiner):
    """Takes all background away."""

    def refine(self, image: torch.Tensor, seed: Seed) -> Seed:
        """The seed with a background that loses everywhere."""
        gone = torch.zeros(seed.size)
        return Seed(seed.scores + 0.01, seed.classes, gone, seed.confidence)


@pytest.fixture(autouse=True)
def registered():
    REFINERS.register_module(module=AllForeground)
    yield
    REFINERS.module_dict.pop('AllForeground')


@pytest.fixture
def images(tmp_path: Path) -> dict:
    """Two photos of a square; maps that are low in it and exactly 0 outside."""
    root = make_voc(tmp_path / 'data', {'a': ['aeroplane'], 'b': ['aeroplane']})
    square = np.zeros(SIZE, np.uint8)
    square[5:15, 5:15] = 1
    for name in 'ab':
        photo = np.full((*SIZE, 3), 120, np.uint8)
        photo[square == 1] = 250
        Image.fromarray(photo).save(root / f'JPEGImages/{name}.jpg')
        save_label_map(root / f'SegmentationClass/{name}.png', square)
        scores = 0.004 * square[None].astype(np.float32)
        scores[0, 9, 9] = 1
        seed = Seed(torch.from_numpy(scores), torch.tensor([0]))
        seed.save(seed_path(tmp_path / 'cam', name))
    return dict(type='VOC12', data_root=str(root), split='train')


def refine(images: dict, root: Path, *more: dict, threshold: float = 0.003) -> dict:
    refiners = [dict(type='ConstantBackground'), *more]
    stage = RefineStage('pseudo', 'cam', images, refiners, threshold, workers=1)
    return stage.run(root / f'pseudo{len(more)}', dict(cam=root / 'cam'))


def test_the_sweep_finds_what_lies_below_a_hundredth(images, tmp_path) -> None:
    masks = dict(images, label_maps='SegmentationClass', test_mode=True)
    stage = EvaluateSeedStage('score', 'cam', masks)
    metrics = stage.run(tmp_path / 'score', dict(cam=tmp_path / 'cam'))
    # Masks of one class of 21, perfect at thresholds from 0 to below 0.004.
    assert metrics['best_miou'] == pytest.approx(100 * 2 / 21, abs=1e-3)
    sweep = SeedIoU(1, usual_thresholds('acr'))
    scores = np.full((1, 2, 2), 0.0004, np.float32)
    scores[0, 0] = 0.9
    sweep.update(scores, [0], np.array([[1, 1], [0, 0]]))
    assert sweep.compute().best_threshold == 0.0005


def test_the_area_and_published_protocols_keep_their_thresholds() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((1, 9, 9)).astype(np.float32) ** 8
    target = (scores[0] > 0.0003).astype(np.uint8)
    found = []
    for thresholds in (None, usual_thresholds('acr')):
        sweep = SeedIoU(1, thresholds)
        sweep.update(scores, [0], target)
        found.append(sweep.compute())
    assert found[0].area_under_curve == found[1].area_under_curve
    assert len(found[1].thresholds) == 104 and found[1].best_miou > found[0].best_miou
    assert usual_thresholds('mctformer') == tuple(np.arange(100) / 100)


def test_a_threshold_is_never_rounded_to_zero() -> None:
    assert rounded(0.8 * 0.0005) == 0.0004 and rounded(0.03 * 0.0005) == 1.5e-5
    assert rounded(0.123456) == 0.1235 and rounded(0.0) == 0


def test_background_that_is_kept(images, tmp_path) -> None:
    metrics = refine(images, tmp_path)
    share = 1 - 100 / 600
    assert metrics['background_share'] == pytest.approx(share, abs=1e-4)
    assert not {'one_class', 'seed_background_share'} & set(metrics)


def test_background_that_is_lost_is_said(images, tmp_path, monkeypatch) -> None:
    said: list[str] = []
    keep = lambda text, **_: said.append(text)  # noqa: E731
    monkeypatch.setattr(logging.getLogger('wsss_plugins'), 'warning', keep)
    metrics = refine(images, tmp_path, dict(type='AllForeground'))
    assert metrics['background_share'] == 0 and metrics['one_class'] == 2
    assert metrics['seed_background_share'] == pytest.approx(1 - 100 / 600, abs=1e-4)
    assert '2 of 2 label maps are one class everywhere' in said[0]
    assert '83.3% of the pixels of the seeds' in said[1]
    assert len(background_doubts(metrics, 2)) == 2
