"""IRNet: its grid, its losses, what it leaves alone, and the mean displacement."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from wsss_plugins.affinity import BoundarySource, IRNet, MeanDisplacementHook
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import HOOKS, MODELS, build_as


class Pyramid(BaseModule):
    """Maps of stride 2, 4 and 8; a batch norm and a dropout that must stay still."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(c, n, 3, stride=2, padding=1) for c, n in ((3, 4), (4, 6), (6, 8))
        )
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for conv in self.convs:
            images = conv(images).relu()
            maps.append(images)
        maps[0] = self.drop(self.norm(maps[0]))
        return tuple(maps)


def small_net(**kwargs: Any) -> IRNet:
    settings = dict(
        in_channels=(4, 6, 8),
        strides=(2, 4, 8),
        edge_channels=4,
        edge_groups=2,
        channels=(4, 4, 8),
        groups=(2, 2, 2),
        joined=8,
        radius=3,
        train_radius=3,
    )
    return IRNet(Pyramid(), **(settings | kwargs))


def test_is_a_boundary_source_of_any_size() -> None:
    net = small_net().eval()
    assert isinstance(net, BoundarySource)
    images = torch.randn(2, 3, 21, 35)
    strength, field = net(images, mode='predict')
    assert strength.shape == (2, 11, 18) and field.shape == (2, 2, 11, 18)
    assert (strength > 0).all() and (strength < 1).all()
    torch.testing.assert_close(net.boundaries(images), strength)


def test_boundaries_of_the_mirror_image_are_mirrored() -> None:
    net = small_net().eval()
    images = torch.randn(1, 3, 16, 24)
    mirrored = net.boundaries(images.flip(-1)).flip(-1)
    torch.testing.assert_close(mirrored, net.boundaries(images))


def test_padding_to_the_crop_size_is_cut_off() -> None:
    net = small_net(crop_size=(64, 40)).eval()
    images = torch.randn(1, 3, 16, 48)
    seen: list[tuple[int, ...]] = []
    handle = net.backbone.register_forward_pre_hook(
        lambda module, given: seen.append(tuple(given[0].shape[2:]))
    )
    assert net.boundaries(images).shape == (1, 8, 24)
    handle.remove()
    assert set(seen) == {(64, 48)}, 'no image is cut'


def test_the_backbone_is_left_alone() -> None:
    net = small_net().train()
    before = {k: v.clone() for k, v in net.backbone.state_dict().items()}
    samples = [SegDataSample() for _ in range(2)]
    for sample in samples:
        label = torch.zeros(1, 16, 16, dtype=torch.long)
        label[:, 3:9, 4:12] = 2
        sample.gt_sem_seg = PixelData(data=label)
    images = torch.randn(2, 3, 32, 32)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    first = None
    for _ in range(20):
        losses = net(images, samples, mode='loss')
        total = sum(losses.values())
        first = float(total) if first is None else first
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert set(losses) == {
        'loss_bg', 'loss_fg', 'loss_neg', 'loss_dp_bg', 'loss_dp_fg',
    }  # fmt: skip
    assert float(total) < 0.9 * first, (float(total), first)
    after = net.backbone.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is not None for p in net.edges.parameters())


def test_labels_of_another_grid_are_refused() -> None:
    with pytest.raises(DataError, match='stride of IRNet, 2') as error:
        small_net().loss(torch.randn(1, 3, 32, 32), torch.zeros(1, 8, 8))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'wrong', [dict(strides=(2, 4, 6)), dict(channels=(4, 4)), dict(train_radius=1)]
)
def test_refuses_arguments_that_do_not_fit(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        small_net(**wrong)


def test_mean_displacement_is_measured_and_subtracted() -> None:
    net = small_net()
    net.mean_displacement.fill_(7.0)  # of an earlier training
    images = torch.randint(0, 256, (3, 3, 16, 24), dtype=torch.uint8)
    dataset = [dict(inputs=image, data_samples=SegDataSample()) for image in images]
    runner = SimpleNamespace(
        model=net, train_dataloader=SimpleNamespace(dataset=dataset)
    )
    hook = build_as(HOOKS, dict(type='MeanDisplacementHook'), MeanDisplacementHook)
    hook.after_train(runner)
    _, plain = net.train().maps(net.normalise(images.float()))
    torch.testing.assert_close(net.mean_displacement, plain.mean((0, 2, 3)))
    _, centred = net.eval().maps(net.normalise(images.float()))
    assert (
        centred.mean((0, 2, 3)).abs().max() < 1e-5 < plain.mean((0, 2, 3)).abs().max()
    )


def test_the_hook_refuses_another_model() -> None:
    runner = SimpleNamespace(model=nn.Linear(2, 2))
    with pytest.raises(ConfigError, match='leave MeanDisplacementHook out'):
        MeanDisplacementHook().after_train(runner)


def test_its_own_name_builds_it() -> None:
    net = build_as(MODELS, dict(type='IRNet', backbone=dict(type=Pyramid),
                                in_channels=(4, 6, 8), strides=(2, 4, 8),
                                channels=(8, 8, 8), groups=(2, 2, 2)), IRNet)  # fmt: skip
    assert (net.stride, net.multiple, net.radius) == (2, 8, 5)
