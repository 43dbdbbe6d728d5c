"""AffinityNet predicts which neighbouring pixels are of one class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, BaseModule
from torch import Tensor, nn

from wsss_plugins.affinity.geometry import (
    BorderRule,
    check_pairs,
    pair_indices,
    pair_labels,
)
from wsss_plugins.affinity.similarity import feature_affinities
from wsss_plugins.affinity.sources import pixels_of
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import MODELS, build_as


@MODELS.register_module()
class AffinityNet(BaseModel):
    """Features whose distance tells whether two pixels are of one class.

    Feature maps of a backbone are resized to one grid, reduced by a 1x1 convolution
    each, concatenated, and mixed by another 1x1 convolution. The network follows
    mmengine's model interface with ``mode`` ``'loss'``, ``'predict'`` or ``'tensor'``,
    and is a ``FeatureSource`` of the random walk.

    Sources: Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level
    Supervision" (PSA), CVPR 2018, section 3.2; Athanasiadis, Moschovis and Tuoma,
    "Weakly-Supervised Semantic Segmentation via Transformer Explainability",
    ReScience C 2022, section 4.3.

    Args:
        backbone: Config of a module from images to a sequence of feature maps.
        in_channels: Channels of the maps that are used. The default is the last maps
            of :class:`WideResNet38`.
        channels: Channels that each map is reduced to.
        in_index: Indices of the maps that are used; by default the first ones.
        groups: Groups of a group norm after the first convolutions; None for no norm.
            The ReScience code has 32.
        stride: Pixels of the image per pixel of the grid.
        radius: Radius of the pairs in pixels of the grid.
        border: Which pairs are trained on, see :data:`BorderRule`.
        loss: Config of the loss of affinities against the kinds of pairs.
        mean: RGB mean of the images, in 0..255.
        std: RGB standard deviation.
        init_cfg: mmengine's.

    Raises:
        ConfigError: ``in_channels``, ``channels`` and ``in_index`` have different
            lengths, or a number is out of range.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        in_channels: Sequence[int] = (512, 1024, 4096),
        channels: Sequence[int] = (64, 128, 256),
        in_index: Sequence[int] | None = None,
        groups: int | None = None,
        stride: int = 8,
        radius: int = 5,
        border: BorderRule = 'psa',
        loss: dict[str, Any] | None = None,
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        preprocessor = dict(type='ImgDataPreprocessor', mean=list(mean), std=list(std))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        check_pairs(radius, border)
        self.in_index = tuple(range(len(in_channels)) if in_index is None else in_index)
        if (
            stride < 1
            or not len(in_channels) == len(channels) == len(self.in_index) > 0
        ):
            raise ConfigError(
                'AffinityNet needs stride >= 1 and one of in_channels, channels and '
                f'in_index for each feature map, not {stride}, {tuple(in_channels)}, '
                f'{tuple(channels)}, {self.in_index}',
                token='in_channels',
            )
        self.stride, self.radius, self.border = stride, radius, border
        self.backbone = build_as(MODELS, backbone, BaseModule)
        self.f8 = nn.ModuleList(
            _reduction(old, new, groups)
            for old, new in zip(in_channels, channels, strict=True)
        )
        width = sum(channels)
        self.f9 = nn.Conv2d(width, width, 1, bias=False)
        nn.init.xavier_uniform_(self.f9.weight, gain=4)
        loss = loss or dict(type='AffinityLoss')
        self.affinity_loss = build_as(MODELS, loss, nn.Module)

    def normalise(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` RGB in 0..255, as the backbone wants them."""
        prepare = self.data_preprocessor
        return (images - prepare.mean) / prepare.std

    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, D, h, w)``; h and w are H and W over the stride, rounded up."""
        grid = [-(-side // self.stride) for side in pixels_of(self.backbone, images)]
        maps = self.backbone(images)
        taps = [_resized(maps[i], grid) for i in self.in_index]
        reduced = [F.elu(f8(tap)) for f8, tap in zip(self.f8, taps, strict=True)]
        return F.elu(self.f9(torch.cat(reduced, 1)))

    def affinities(self, features: Tensor) -> Tensor:
        """Affinities ``(N, P, F)`` of the pairs that are trained on."""
        source, _ = pair_indices(*features.shape[-2:], self.radius, self.border)
        affinities = feature_affinities(features, self.radius)
        return affinities.flatten(2)[..., source.to(affinities.device)]

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[Any] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Runs the network.

        Args:
            inputs: ``(N, 3, H, W)``, normalised.
            data_samples: One per image, whose ``gt_sem_seg.data`` ``(1, h, w)`` is its
                confident label; needed by ``'loss'``.
            mode: ``'loss'`` returns a dict of losses, ``'predict'`` the affinities
                ``(N, P, F)``, ``'tensor'`` the features ``(N, D, h, w)``.
        """
        if mode == 'loss':
            labels = [sample.gt_sem_seg.data for sample in data_samples or []]
            return self.loss(inputs, torch.cat(labels))
        features = self.features(inputs)
        return self.affinities(features) if mode == 'predict' else features

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            images: ``(N, 3, H, W)``, normalised.
            labels: ``(N, h, w)``: 0 background, 1.. classes, 255 unsure.

        Raises:
            DataError: The labels are not on the grid of the features.
        """
        features = self.features(images)
        if labels.shape[1:] != features.shape[2:]:
            raise DataError(
                f'labels of {tuple(labels.shape[1:])} do not fit the grid '
                f'{tuple(features.shape[2:])}: give PoolConfidentLabels the stride of '
                f'AffinityNet, {self.stride}'
            )
        kinds = pair_labels(labels, self.radius, self.border)
        return self.affinity_loss(self.affinities(features), *kinds)


def _reduction(in_channels: int, channels: int, groups: int | None) -> nn.Sequential:
    """A 1x1 convolution, and a group norm if ``groups`` says so."""
    conv = nn.Conv2d(in_channels, channels, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    return nn.Sequential(conv, *([nn.GroupNorm(groups, channels)] if groups else []))


def _resized(maps: Tensor, grid: Sequence[int]) -> Tensor:
    """Feature maps, bilinear (half-pixel centres) to ``grid``."""
    if list(maps.shape[-2:]) == list(grid):
        return maps
    return F.interpolate(maps, size=tuple(grid), mode='bilinear', align_corners=False)
