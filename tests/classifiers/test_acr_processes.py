"""ACR in two processes: its gradients are averaged, unlike those of the released code."""

from __future__ import annotations

import gc
import os
import socket

import pytest
import torch
from torch import multiprocessing

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import ACRClassifier
from wsss_plugins.structures import ClassSample

pytestmark = pytest.mark.slow


def free_port() -> str:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def make_classifier() -> ACRClassifier:
    torch.manual_seed(0)
    size = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    return ACRClassifier(
        view=['hflip', dict(type='ResizeView', scale=1.4), 'grey'],
        equivariance=dict(type='MapEquivarianceLoss'),
        backbone=TimmViT(**size),
        head=dict(type='TokenHead', num_classes=5),
    ).double()


def gradients(rank: int, workers: int, file: str, port: str) -> None:
    """Writes the gradients of this worker's share of two images."""
    from mmengine.model import MMDistributedDataParallel

    torch.set_num_threads(1)
    model = bare = make_classifier()
    if workers > 1:
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        torch.distributed.init_process_group('gloo', rank=rank, world_size=workers)
        model = MMDistributedDataParallel(module=bare, broadcast_buffers=False)
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 32, 40, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[1, 0, 1, 1, 0], [0, 1, 0, 0, 0]])  # three classes, and one
    mine = slice(rank, None, workers)
    samples = [ClassSample() for _ in labels[mine]]
    for sample, label in zip(samples, labels[mine], strict=True):
        sample.gt_label = label
    losses = model(images[mine], samples, mode='loss')
    sum(losses.values()).backward()
    found = {name: p.grad for name, p in bare.named_parameters()}
    found |= {name: value.detach() for name, value in losses.items()}
    torch.save(found, f'{file}.{rank}')
    if workers > 1:
        del model, bare, losses  # torch may hang when the group goes first
        gc.collect()
        torch.distributed.destroy_process_group()


def test_one_image_each_is_two_images(tmp_path) -> None:
    one, two = str(tmp_path / 'one'), str(tmp_path / 'two')
    gradients(0, 1, one, '')
    multiprocessing.spawn(gradients, (2, two, free_port()), nprocs=2)
    expected = torch.load(f'{one}.0', weights_only=True)
    first, second = (torch.load(f'{two}.{r}', weights_only=True) for r in (0, 1))
    terms = [name for name in expected if name.startswith('loss_')]
    assert sorted(terms) == [
        'loss_act', 'loss_aff', 'loss_class', 'loss_equivariance', 'loss_patch'
    ]  # fmt: skip
    for name, value in expected.items():
        if name in terms:  # each worker has its own; their mean is that of both
            assert first[name] != second[name]
            got = (first[name] + second[name]) / 2
        else:
            assert torch.equal(first[name], second[name]), name
            got = first[name]
        torch.testing.assert_close(got, value, rtol=1e-9, atol=1e-12, msg=name)
