"""From confident labels through a trained AffinityNet to a random walk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from PIL import Image
from safetensors.torch import load_file, save_file

from wsss_plugins.affinity import AffinityNet
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.config import load_config
from wsss_plugins.datasets import FolderWSSS
from wsss_plugins.refiners import ConstantBackground, PowerBackground, RandomWalk
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.stages import (
    ConfidentLabelStage,
    RefineStage,
    TrainStage,
    load_trained,
)
from wsss_plugins.structures import Seed, load_label_map

SMALL = dict(img_size=32, embed_dim=16, depth=1, num_heads=2)


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Any]:
    """Eight bright discs on dark ground, and seeds that see their middle only."""
    y, x = np.mgrid[:32, :40]
    (tmp_path / 'images').mkdir()
    for i in range(8):
        distance = np.hypot(y - 14 - i % 4, x - 16 - i)
        pixels = np.where(distance[..., None] < 9, 220, 40) + np.random.randint(
            -20, 20, (32, 40, 3)
        )
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f'images/{i}.png')
        scores = torch.from_numpy(np.exp(-distance / 6)).float()[None]
        Seed(scores, torch.tensor([0])).save(tmp_path / f'cam/seeds/{i}.npz')
    rows = [f'{i}.png,disc' for i in range(8)]
    (tmp_path / 'all.csv').write_text('\n'.join(['file,tags', *rows]))
    return dict(type=FolderWSSS, data_root=str(tmp_path), split='all', classes=['disc'])


@pytest.fixture
def training(root: Path, images: dict[str, Any]) -> dict[str, Any]:
    """The synthetic training config, shrunk."""
    cfg = load_config(root / 'configs/psa/synthetic_affinity.py')
    cfg.model.backbone.update(SMALL)
    cfg.model.update(
        in_channels=(4, 8, 16), channels=(8, 8, 8), groups=2, stride=4, radius=3
    )
    loader = cfg.train_dataloader
    loader.update(batch_size=4)
    pipeline = loader.dataset.pipeline
    for step in pipeline:
        if 'size' in step:
            step['size'] = 32
        if 'stride' in step:
            step['stride'] = 4
    loader.dataset = dict(images, label_maps='confident', pipeline=pipeline)
    return cfg.to_dict()


def save_classifier(folder: Path) -> dict[str, torch.Tensor]:
    """A classifier as its stage leaves it; its weights."""
    backbone = dict(type='TimmViT', stem='conv', patch_size=8, **SMALL)
    head = dict(type='TokenHead', num_classes=1)
    weights = WSSSClassifier(backbone, head).state_dict()
    folder.mkdir()
    save_file(weights, folder / 'weights.safetensors')
    return weights


def test_from_confident_labels_to_a_walk(images, training, tmp_path: Path) -> None:
    weights = save_classifier(tmp_path / 'classifier')
    folders = {
        name: tmp_path / name for name in ('cam', 'confident', 'classifier', 'affinity')
    }
    chain = (dict(type=PowerBackground),)
    confident = ConfidentLabelStage(
        'confident', 'cam', images, refiners=chain, workers=1
    )
    confident.run(folders['confident'], folders)
    values = np.unique(load_label_map(folders['confident'] / 'labels/3.png'))
    assert values.tolist() == [0, 1, 255]

    training['optim_wrapper']['optimizer']['lr'] = 0.0
    stage = TrainStage(
        'affinity', training, label_maps='confident', backbone='classifier'
    )
    assert stage.inputs == ('confident', 'classifier')
    stage.run(folders['affinity'], folders)
    assert stage.provenance()['initial_weights'] == 'backbone of classifier'
    kept = load_file(folders['affinity'] / 'weights.safetensors')
    first = kept['backbone.stages.0.0.weight']
    assert torch.equal(first, weights['backbone.vit.patch_embed.layers.0.weight'])

    model = load_trained(folders['affinity'], AffinityNet)
    assert (model.stride, model.radius) == (4, 3)
    walk = [
        dict(type=ConstantBackground, threshold=0.5),
        dict(type=RandomWalk, affinity='affinity', beta=4, steps=4),
    ]
    refine = RefineStage('walked', 'cam', images, walk, workers=1)
    assert refine.inputs == ('cam', 'affinity')
    metrics = refine.run(tmp_path / 'walked', folders)
    assert metrics['failed'] == 0
    assert len(list((tmp_path / 'walked/labels').glob('*.png'))) == 8


def test_learns_the_discs(images, training, tmp_path: Path) -> None:
    """Pairs across the edge of a disc get less alike than pairs within."""
    folders = {name: tmp_path / name for name in ('cam', 'confident')}
    chain = (dict(type=PowerBackground),)
    ConfidentLabelStage('confident', 'cam', images, refiners=chain, workers=1).run(
        folders['confident'], folders
    )
    training['train_cfg']['max_epochs'] = 12
    training['param_scheduler'] = []
    TrainStage('affinity', training, label_maps='confident').run(
        tmp_path / 'net', folders
    )
    net = load_trained(tmp_path / 'net', AffinityNet)
    image = torch.full((1, 3, 32, 40), 40.0)
    image[..., :20] = 220
    with torch.no_grad():
        affinities = net(net.normalise(image), mode='predict').reshape(-1, 8, 10)
    across, within = affinities[0, :, 4].mean(), affinities[0, :, 6:8].mean()
    assert within > across + 0.3


def test_new_layers_learn_ten_times_as_fast(root: Path) -> None:
    """The groups of PSA: x1, x10 for the new layers, nothing for what is frozen."""
    cfg = load_config(root / 'configs/psa/voc_affinity_resnet38.py').to_dict()
    backbone = dict(cfg['model']['backbone'], pretrained=None, base_channels=2)
    model = dict(cfg['model'], backbone=backbone, in_channels=(16, 32, 128))
    net = build_as(MODELS, model, AffinityNet)
    groups = build_optim_wrapper(net, cfg['optim_wrapper']).param_groups
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            wanted = 1.0 if name.startswith(('f8', 'f9')) else 0.1
            assert rates[id(parameter)] == pytest.approx(wanted), name
    learning = [name for name, p in net.named_parameters() if p.requires_grad]
    assert learning[0] == 'backbone.b3.conv_branch1.weight'
    assert {name.split('.')[0] for name in learning} == {'backbone', 'f8', 'f9'}
