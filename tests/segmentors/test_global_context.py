"""The light head against its layers written out, and what its context is for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.segmentors import GlobalContextHead


def make(**kwargs) -> GlobalContextHead:
    config = dict(
        type='GlobalContextHead', in_channels=(4, 6), in_index=(0, 2), channels=8,
        num_classes=3, norm_cfg=dict(type='GN', num_groups=2),
        loss_decode=dict(type='mmseg.CrossEntropyLoss'),
    )  # fmt: skip
    head = build_as(MODELS, {**config, **kwargs}, GlobalContextHead)
    head.init_weights()
    return head.double().eval()


@pytest.fixture
def maps():
    sizes = ((4, 8, 10), (5, 4, 5), (6, 2, 3))
    return [torch.randn(2, *size, dtype=torch.float64) for size in sizes]


def test_it_is_its_layers_written_out(maps) -> None:
    torch.manual_seed(0)
    head = make()
    torch.nn.init.normal_(head.conv_seg.weight)
    state = head.state_dict()

    def layer(x: torch.Tensor, name: str) -> torch.Tensor:
        x = F.conv2d(x, state[f'{name}.conv.weight'])
        return F.group_norm(
            x, 2, state[f'{name}.gn.weight'], state[f'{name}.gn.bias']
        ).relu()

    fine, coarse = layer(maps[0], 'convs.0'), layer(maps[2], 'convs.1')
    coarse = F.interpolate(coarse, (8, 10), mode='bilinear')
    weight, bias = state['context.0.weight'], state['context.0.bias']
    context = F.linear(maps[2].mean((2, 3)), weight, bias).relu()
    context = context[:, :, None, None].expand(-1, -1, 8, 10)
    joined = layer(torch.cat([fine, coarse, context], 1), 'fusion')
    expected = F.conv2d(joined, state['conv_seg.weight'], state['conv_seg.bias'])
    assert head(maps).shape == (2, 3, 8, 10)
    torch.testing.assert_close(head(maps), expected, rtol=0, atol=1e-12)


def test_cells_that_look_alike_are_told_apart_by_their_photo(maps) -> None:
    head = make()
    torch.nn.init.normal_(head.conv_seg.weight)
    other = [each.clone() for each in maps]
    other[2][..., -1] += 3.0  # the right column of the last map, far from the left edge
    here, there = head(maps), head(other)
    assert not torch.allclose(here[..., 0], there[..., 0])
    assert torch.allclose(here[1], head([each[1:] for each in maps])[0])


@pytest.mark.parametrize('given', [dict(in_channels=(4,)), dict(in_index=())])
def test_one_width_for_each_map(given) -> None:
    with pytest.raises(ConfigError, match='one of in_channels for each map'):
        make(**given)
