"""Conformer's convolutional branch, where mmpretrain is installed."""

from __future__ import annotations

import importlib

import pytest
import torch
from safetensors.torch import save_file

from wsss_plugins.backbones import ConformerBackbone, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.seeds import CAM


@pytest.fixture(scope='module')
def mmpretrain():
    reason = 'mmpretrain (pip install onedl-mmpretrain model-index) is not installed'
    return pytest.importorskip('mmpretrain.models.backbones', reason=reason)


def test_without_mmpretrain(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, 'import_module', missing)
    with pytest.raises(ConfigError) as error:
        ConformerBackbone()
    assert str(error.value) == (
        'Conformer is a network of mmpretrain, which cannot be imported (No module named '
        "'mmpretrain.models.backbones'): pip install onedl-mmpretrain model-index"
    )


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(arch='huge'), "arch of Conformer must be one of ('tiny', 'small', 'base')"),
        (dict(output_stride=8), 'output_stride of Conformer must be one of (16, 32)'),
    ],
)  # fmt: skip
def test_mistakes(wrong, message) -> None:
    with pytest.raises(ConfigError) as error:
        ConformerBackbone(**wrong)
    assert str(error.value).startswith(message)


def test_the_pooled_map_is_what_mmpretrain_returns(mmpretrain, tmp_path) -> None:
    """Same weights under mmpretrain's names; every weight but the other branch's learns."""
    other = mmpretrain.Conformer('tiny', norm_eval=False)
    path = str(tmp_path / 'weights.safetensors')
    save_file({f'backbone.{k}': v for k, v in other.state_dict().items()}, path)
    own = ConformerBackbone('tiny', pretrained=path, norm_eval=False).double()
    assert own.report and len(own.report.loaded) == len(other.state_dict())
    assert (own.embed_dims, own.stride, own.num_prefix) == (256, 32, 0)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    own.eval()
    other.double().train(False)
    patch = own(images).patch
    assert patch.shape == (2, 256, 2, 3)
    torch.testing.assert_close(patch.mean((2, 3)), other(images)[0][0])
    own.train()
    own(images).patch.square().mean().backward()
    unused = {
        k for k, p in own.named_parameters() if p.requires_grad and p.grad is None
    }
    assert unused == set()
    assert not any(m._forward_hooks for m in own.modules())


def test_class_maps_and_a_finer_grid(mmpretrain) -> None:
    backbone = ConformerBackbone('tiny', output_stride=16)
    head = dict(type='TokenHead', num_classes=4, sources=('patch',))
    model = WSSSClassifier(backbone=backbone, head=head).double().eval()
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    maps = CAM().signed_maps(model, images, torch.ones(1, 4))
    torch.testing.assert_close(maps, model.cam_logits(backbone(images)))
    assert maps.shape == (1, 4, 4, 6)
    with pytest.raises(UserError, match='ConformerBackbone has no attention'):
        capture(backbone, images).__enter__()
