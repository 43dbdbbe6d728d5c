"""The decode head of DeepLabV2 against golden arrays and inside mmseg."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.segmentors import DeepLabV2Head


@pytest.fixture
def arrays(golden):
    return {k: torch.from_numpy(v) for k, v in golden('deeplabv2').items()}


def make_head(arrays, **kwargs) -> DeepLabV2Head:
    classes, channels = arrays['aspp.c0.weight'].shape[:2]
    config = dict(
        type=DeepLabV2Head, in_channels=channels, num_classes=classes,
        loss_decode=dict(type='mmseg.CrossEntropyLoss'), **kwargs,
    )  # fmt: skip
    return build_as(MODELS, config, DeepLabV2Head).eval()


def fill(head: DeepLabV2Head, arrays) -> None:
    for i, branch in enumerate(head.branches):
        branch.load_state_dict(
            dict(weight=arrays[f'aspp.c{i}.weight'], bias=arrays[f'aspp.c{i}.bias'])
        )


def test_golden(arrays) -> None:
    head = make_head(arrays)
    fill(head, arrays)
    out = head([arrays['aspp_x']])
    torch.testing.assert_close(out, arrays['aspp_y'], rtol=1e-5, atol=1e-5)


def test_other_dilations_differ(arrays) -> None:
    head = make_head(arrays, dilations=(1, 2, 3, 4))
    fill(head, arrays)
    gap = (head([arrays['aspp_x']]) - arrays['aspp_y']).abs().max()
    assert gap > 0.1


def test_initial_weights_are_those_of_the_paper(arrays) -> None:
    head = make_head(arrays)
    head.init_weights()
    weights = torch.cat([b.weight.flatten() for b in head.branches])
    assert weights.std().item() == pytest.approx(0.01, rel=0.1)
    assert abs(weights.mean().item()) < 0.002
    assert all((branch.bias == 0).all() for branch in head.branches)


def test_as_many_parameters_as_its_branches(arrays) -> None:
    """No 1x1 classifier, norm or pooling branch is hidden in the base class."""
    head = make_head(arrays)
    count = sum(p.numel() for p in head.parameters())
    assert count == sum(p.numel() for p in head.branches.parameters())
    assert count == 4 * (5 * 6 * 9 + 5)
