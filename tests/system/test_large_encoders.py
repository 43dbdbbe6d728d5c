"""Configs of large frozen encoders are built and stepped, with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from wsss_plugins.backbones import TimmMaps
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.config import load_config
from wsss_plugins.registry import MODELS, build_as


@pytest.mark.parametrize(
    ('name', 'channels', 'stride'), [('dinov2', 384, 14), ('clip', 768, 16)]
)
def test_a_step_on_pixels_and_on_features(
    root: Path, name: str, channels: int, stride: int
) -> None:
    cfg = load_config(root / f'configs/voc_animals/{name}.py')
    net = cfg.model.backbone.net
    net.update(pretrained=False, depth=2)
    model = build_as(MODELS, cfg.model.to_dict(), WSSSClassifier)
    view = cfg.train_dataloader.dataset.pipeline[0]
    assert view['multiple'] == cfg.train_dataloader.batch_sampler.multiple == stride
    maps = model.backbone.net
    assert isinstance(maps, TimmMaps)
    assert (maps.channels, maps.strides) == ((channels,), (stride,))
    images = 255 * torch.rand(2, 3, 4 * stride, 5 * stride)
    labels = torch.eye(20)[:2]
    (loss,) = model.loss(images, labels).values()
    (again,) = model.loss(maps.pack(maps(images)), labels).values()
    assert torch.allclose(loss, again)
    loss.backward()
    assert model.head.fc.weight.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in maps.parameters())
