"""The learning rate and weight decay of every parameter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.models.segmentors import EncoderDecoder
from torch import nn

from wsss_plugins.config import load_config, set_everywhere
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.segmentors import DeepLabRates

CONFIGS = Path(__file__).parents[2] / 'configs'
FULL = sorted(p.stem for p in (CONFIGS / 'deeplabv2').glob('*_[rv]*[0-9]*.py'))
FULL = [name for name in FULL if not name.startswith('synthetic')]


def rates(model: nn.Module, config: dict) -> dict[str, tuple[float, float]]:
    """Rate and decay of every parameter that learns, as factors of the config's."""
    init_default_scope(SCOPE)
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = config['optimizer']
    decay = optimizer['weight_decay'] or 1.0
    wrapper = build_optim_wrapper(model, config)
    return {
        names[p]: (group['lr'] / optimizer['lr'], group['weight_decay'] / decay)
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }


def test_there_are_configs() -> None:
    assert {'voc_r101', 'voc_r50', 'voc_resnet38', 'voc_vgg16', 'coco_r101'} <= set(
        FULL
    )


@pytest.mark.parametrize('name', FULL)
def test_every_parameter_of_the_configs(name: str) -> None:
    cfg = load_config(CONFIGS / f'deeplabv2/{name}.py')
    set_everywhere(cfg, 'pretrained', None)
    with torch.device('meta'):
        model = build_as(MODELS, cfg.model, EncoderDecoder)
    found = rates(model, cfg.optim_wrapper.to_dict())
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert found.keys() == learning.keys()
    plain = 'resnet38' in name  # released without doubled biases and without decay
    for parameter, (rate, decay) in found.items():
        head = parameter.startswith('decode_head')
        bias = parameter.endswith('bias') and not plain
        wanted = (10 if head else 1) * (2 if bias else 1)
        assert rate == pytest.approx(wanted), parameter
        assert decay == (0 if bias or plain else 1), parameter
    assert any(p.startswith('decode_head') for p in found)
    assert any(p.startswith('backbone') for p in found)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4), nn.LayerNorm(4)
        )
        self.decode_head = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))
        self.decode_head_of_another_name = nn.Linear(2, 2)


def config(**rules) -> dict:
    return dict(
        type='OptimWrapper',
        constructor='DeepLabRates',
        optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01),
        paramwise_cfg=rules,
    )


def test_norms_have_the_rate_of_their_part() -> None:
    net = Net()
    net.backbone[0].weight.requires_grad_(False)
    found = rates(net, config())
    assert {n: (round(a), b) for n, (a, b) in found.items()} == {
        'backbone.0.bias': (2, 0),
        'backbone.1.weight': (1, 1), 'backbone.1.bias': (1, 1),
        'backbone.2.weight': (1, 1), 'backbone.2.bias': (2, 0),
        'backbone.3.weight': (1, 1), 'backbone.3.bias': (1, 1),
        'decode_head.0.weight': (10, 1), 'decode_head.0.bias': (20, 0),
        'decode_head.1.weight': (10, 1), 'decode_head.1.bias': (10, 1),
        'decode_head_of_another_name.weight': (1, 1),
        'decode_head_of_another_name.bias': (2, 0),
    }  # fmt: skip


def test_other_rules() -> None:
    rules = dict(head=4, bias=3, bias_decay=0.5, heads=['backbone'])
    found = rates(Net(), config(**rules))
    assert found['backbone.0.weight'] == pytest.approx((4, 1))
    assert found['backbone.0.bias'] == pytest.approx((12, 0.5))
    assert found['decode_head.0.bias'] == pytest.approx((3, 0.5))


def test_says_nothing_of_frozen_parameters(capsys) -> None:
    net = Net()
    net.backbone.requires_grad_(False)
    rates(net, config())
    captured = capsys.readouterr()
    assert 'skipped' not in captured.out + captured.err


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="no 'haed': did you mean 'head'"):
        DeepLabRates(dict(optimizer=dict(type='SGD', lr=1)), dict(haed=1))
    with pytest.raises(ConfigError, match=r'needs optimizer\.lr'):
        DeepLabRates(dict(optimizer=dict(type='SGD')))
    with pytest.raises(ConfigError, match='Net has none of the parts head'):
        rates(Net(), config(heads=['head']))
