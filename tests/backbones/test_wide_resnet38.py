"""WideResNet38 against a plain reading of its definition, and its loading."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from wsss_plugins.backbones import WideResNet38
from wsss_plugins.errors import CheckpointError, ConfigError

SMALL = dict(base_channels=2)


def reference(weights: dict[str, Tensor], images: Tensor) -> tuple[Tensor, ...]:
    """The forward pass, written out with the names of PSA's conversion."""

    def norm(x: Tensor, name: str) -> Tensor:
        keys = ('running_mean', 'running_var', 'weight', 'bias')
        return F.relu(F.batch_norm(x, *(weights[f'{name}.{key}'] for key in keys)))

    def conv(x: Tensor, name: str, stride: int = 1, rate: int = 1) -> Tensor:
        kernel = weights[f'{name}.weight']
        padding = rate * (kernel.shape[-1] // 2)
        return F.conv2d(x, kernel, None, stride, padding, rate)

    def block(x: Tensor, name: str, stride: int, rates: tuple[int, ...]) -> Tensor:
        entered = norm(x, f'{name}.bn_branch2a')
        has_shortcut = f'{name}.conv_branch1.weight' in weights
        shortcut = conv(entered, f'{name}.conv_branch1', stride) if has_shortcut else x
        out = conv(entered, f'{name}.conv_branch2a', stride, rates[0])
        for branch, rate in zip(('2b1', '2b2'), rates[1:], strict=False):
            out = norm(out, f'{name}.bn_branch{branch}')
            out = conv(out, f'{name}.conv_branch{branch}', rate=rate)
        return shortcut + out

    x = conv(images, 'conv1a')
    for stage, count in (('b2', 3), ('b3', 3), ('b4', 6)):
        x = block(x, stage, 2, (1, 1))
        for i in range(1, count):
            x = block(x, f'{stage}_{i}', 1, (1, 1))
    conv4 = norm(x, 'b5.bn_branch2a')
    x = block(x, 'b5', 1, (1, 2))
    x = block(x, 'b5_1', 1, (2, 2))
    x = block(x, 'b5_2', 1, (2, 2))
    conv5 = norm(x, 'b6.bn_branch2a')
    x = block(x, 'b6', 1, (1, 4, 1))
    x = block(x, 'b7', 1, (1, 4, 1))
    return conv4, conv5, norm(x, 'bn7')


def randomised(net: WideResNet38) -> WideResNet38:
    """Batch norms that are not the identity."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
            module.bias.data.normal_(0, 0.2)
    return net


def test_equals_the_definition() -> None:
    net = randomised(WideResNet38(**SMALL)).double().eval()
    images = torch.randn(2, 3, 41, 70, dtype=torch.float64)
    ours = net(images)
    wanted = reference(net.state_dict(), images)
    assert [x.shape for x in ours] == [(2, c, 6, 9) for c in (16, 32, 128)]
    for x, y in zip(ours, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)


def test_published_size() -> None:
    with torch.device('meta'):
        net = WideResNet38()
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes['b5.conv_branch2a.weight'] == (512, 512, 3, 3)
    assert shapes['b6.conv_branch2b2.weight'] == (2048, 1024, 1, 1)
    assert shapes['b7.conv_branch1.weight'] == (4096, 2048, 1, 1)
    assert shapes['bn7.running_mean'] == (4096,)
    assert 'b2_1.conv_branch1.weight' not in shapes
    # With the classifier these are the 38 layers; shortcuts do not count.
    convs = [n for n in shapes if 'conv_branch2' in n or n == 'conv1a.weight']
    assert len(convs) == 37


def test_loads_the_converted_weights(tmp_path) -> None:
    """PSA's conversion has no counters of batches, a classifier may add its own."""
    trained = randomised(WideResNet38(**SMALL))
    weights = {
        name: value.clone()
        for name, value in trained.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    path = tmp_path / 'resnet38.safetensors'
    save_file(weights | {'fc8.weight': torch.zeros(20, 128)}, path)
    net = WideResNet38(**SMALL, pretrained=str(path)).eval()
    images = torch.randn(1, 3, 16, 24)
    for x, y in zip(net(images), trained.eval()(images), strict=True):
        assert torch.equal(x, y)
    save_file({'features.0.weight': torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match='another model than WideResNet38'):
        WideResNet38(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(path)))


@pytest.mark.parametrize(('stages', 'first'), [(-1, 'conv1a'), (0, 'b2'), (1, 'b3')])
def test_frozen_stages(stages: int, first: str) -> None:
    net = WideResNet38(**SMALL, frozen_stages=stages).train()
    learning = [name for name, p in net.named_parameters() if p.requires_grad]
    assert learning[0].startswith(f'{first}.')
    assert any(name.startswith('b7.') for name in learning)
    assert not any('bn' in name for name in learning)
    assert not any(m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_norms_can_learn() -> None:
    net = WideResNet38(**SMALL, frozen_stages=1, norm_eval=False).train()
    assert net.b3.bn_branch2a.training and net.b3.bn_branch2a.weight.requires_grad
    assert not net.b2.bn_branch2a.training, 'frozen with its stage'


def test_refuses_stages_that_it_has_not() -> None:
    with pytest.raises(ConfigError, match=r'-1\.\.6, not 7'):
        WideResNet38(**SMALL, frozen_stages=7)
