"""ResNet, multi-scale fusion, learning rates and schedule of DeepLabV2's PyTorch port."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper, PolyLR, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.models.backbones.resnet import Bottleneck
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from safetensors.torch import save_file
from torch import nn

from wsss_plugins.registry import SCOPE
from wsss_plugins.segmentors import (
    DeepLabRates,
    DeepLabResNet,
    DeepLabV2Head,
    MultiScaleSegmentor,
)


@pytest.fixture
def arrays(golden):
    return {k: torch.from_numpy(v) for k, v in golden('deeplabv2').items()}


class TinyResNet(DeepLabResNet):
    """One layer of two bottlenecks, as the golden trunk."""

    arch_settings = {50: (Bottleneck, (2,))}


def trunk(arrays, tmp_path, **changes) -> TinyResNet:
    """The golden trunk, its weights read from a file in the port's names."""
    weights = {}
    for key, value in arrays.items():
        if key.startswith('trunk.'):
            _, part, rest = key.split('.', 2)
            layer = 'layer1' if part == '0' else f'layer2.block{part}'
            weights[f'base.{layer}.{rest}'] = value.contiguous()
    path = tmp_path / 'port.safetensors'
    save_file(weights, path)
    settings = dict(
        depth=50, num_stages=1, out_indices=(0,), stem_channels=8, base_channels=4,
        # The second block has rate 2, the first 1 behind its stride.
        strides=(2,), dilations=(2,), contract_dilation=True, style='caffe',
    )  # fmt: skip
    net = TinyResNet(pretrained=str(path), **{**settings, **changes})
    net.eval()
    return net


def test_trunk(arrays, tmp_path) -> None:
    net = trunk(arrays, tmp_path)
    stem = net.maxpool(F.relu(net.norm1(net.conv1(arrays['trunk_x']))))
    torch.testing.assert_close(stem, arrays['trunk_stem'], rtol=1e-5, atol=1e-6)
    (out,) = net(arrays['trunk_x'])
    torch.testing.assert_close(out, arrays['trunk_y'], rtol=1e-5, atol=1e-6)
    (wrong,) = trunk(arrays, tmp_path, dilations=(1,))(arrays['trunk_x'])
    assert (wrong - arrays['trunk_y']).abs().max() > 0.1


def full_model() -> EncoderDecoder:
    """DeepLabV2 with ResNet-101 and 21 classes, without numbers."""
    with torch.device('meta'):
        return EncoderDecoder(
            backbone=dict(
                type=DeepLabResNet,
                depth=101,
                strides=(1, 2, 1, 1),
                dilations=(1, 1, 2, 4),
                out_indices=(3,),
                style='caffe',
                norm_eval=True,
                norm_cfg=dict(type='BN', requires_grad=False),
            ),
            decode_head=dict(
                type=DeepLabV2Head,
                in_channels=2048,
                in_index=0,
                num_classes=21,
                loss_decode=dict(type=CrossEntropyLoss),
            ),
            test_cfg=dict(mode='whole'),
        )


def test_size_of_the_full_model() -> None:
    model = full_model()
    assert sum(p.numel() for p in model.parameters()) == 44_048_532
    model.eval()
    for side, grid in ((321, 41), (513, 65)):
        images = torch.empty(1, 3, side, side, device='meta')
        assert model(images, mode='tensor').shape == (1, 21, grid, grid)


def test_pooling_rounds_up() -> None:
    """500 px give 126 cells after the stem in Caffe, 125 in mmseg."""
    with torch.device('meta'):
        images = torch.empty(1, 3, 500, 36)
        for ceil_mode, rows in ((True, 126), (False, 125)):
            net = TinyResNet(
                depth=50, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,),
                ceil_mode=ceil_mode,
            )  # fmt: skip
            assert net(images)[0].shape[2] == rows


def test_learning_rates() -> None:
    """1x for the layers, 10x and 20x for the head, no decay of biases, no norms."""
    init_default_scope(SCOPE)
    model = full_model()
    config = dict(
        type=OptimWrapper,
        constructor=DeepLabRates,
        optimizer=dict(type='SGD', lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
    )
    groups = build_optim_wrapper(model, config).optimizer.param_groups
    found = {
        (round(g['lr'] / 2.5e-4), g['weight_decay']): len(g['params']) for g in groups
    }
    assert found == {(1, 5e-4): 104, (10, 5e-4): 4, (20, 0.0): 4}
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 104 + 4
    assert all(g['momentum'] == 0.9 for g in groups)


class Base(BaseModule):
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x):
        return (F.relu(F.conv2d(x, self.weight, self.bias, 2, 1)),)


class Head(BaseDecodeHead):
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, **kwargs) -> None:
        super().__init__(**kwargs)
        self.weight, self.bias = weight, bias

    def forward(self, inputs):
        return F.conv2d(inputs[0], self.weight, self.bias, 2, 1)


def msc(arrays, **changes) -> MultiScaleSegmentor:
    weights = {
        i: dict(weight=arrays[f'msc.{i}.weight'], bias=arrays[f'msc.{i}.bias'])
        for i in (0, 2)
    }
    head = dict(in_channels=4, channels=5, num_classes=5, dropout_ratio=0)
    return MultiScaleSegmentor(
        backbone=dict(type=Base, **weights[0]),
        decode_head=dict(
            type=Head, loss_decode=dict(type=CrossEntropyLoss), **head, **weights[2]
        ),
        test_cfg=dict(mode='whole'),
        **changes,
    )


def test_multi_scale_fusion(arrays) -> None:
    model = msc(arrays)
    images = arrays['msc_x']
    found = model._logits(images, model.extract_feat(images))
    assert list(found) == ['1', '0.5', '0.75', 'max']
    for i, logits in enumerate(found.values()):
        torch.testing.assert_close(
            logits, arrays[f'msc_train_out{i}'], rtol=1e-5, atol=1e-6
        )
    fused = model(images, mode='tensor')
    torch.testing.assert_close(fused, arrays['msc_eval'], rtol=1e-5, atol=1e-6)
    alone = msc(arrays, scales=())(images, mode='tensor')
    assert not torch.allclose(alone, arrays['msc_eval'], atol=0.01)


def test_polynomial_schedule(golden) -> None:
    """The port refreshes its rate every ten iterations: ours agrees where it does."""
    arrays = golden('deeplabv2')
    at, rate = arrays['poly_iter'], arrays['poly_lr_f64']
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2.5e-4)
    total = 20_000
    # mmengine's reaches its end one step early.
    schedule = PolyLR(optimizer, power=0.9, eta_min=0, end=total + 1, by_epoch=False)
    ours = []
    for _ in range(int(at[-1]) + 1):
        ours.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        schedule.step()
    refreshed = [int(i) for i in at if i % 10 == 0]
    assert len(refreshed) > 3
    for i in refreshed:
        wanted = 2.5e-4 * (1 - i / total) ** 0.9
        assert rate[list(at).index(i)] == pytest.approx(wanted, rel=1e-12)
        assert ours[i] == pytest.approx(wanted, rel=1e-9)
    assert np.all(np.diff(ours) < 0)
