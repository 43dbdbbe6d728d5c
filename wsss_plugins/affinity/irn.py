"""IRNet predicts the boundaries of objects and the way from each pixel to its object's centre."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, BaseModule
from torch import Tensor, nn

from wsss_plugins.affinity.geometry import (
    check_pairs,
    pair_indices,
    pair_labels,
    pair_offsets,
)
from wsss_plugins.affinity.sources import boundary_affinities, pixels_of
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import MODELS, build_as


@MODELS.register_module()
class IRNet(BaseModel):
    """Two branches on the feature maps of a frozen network: boundaries and displacements.

    A branch reduces each map by a 1x1 convolution and joins the maps on the finest grid.
    The displacement branch joins the coarse maps first. The network learns from the pairs
    of pixels of confident labels, and is a ``BoundarySource`` of the random walk.

    Source: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with
    Inter-pixel Relations" (IRN), CVPR 2019, section 4, with the layers of the released
    code. There gradients do not reach the backbone either, whose batch norms are fixed.

    Args:
        backbone: Config of a module from images to a sequence of feature maps. It is
            frozen.
        in_channels: Channels of the maps, finest first. The default is IRN's ResNet-50:
            the map after the first pooling and those of the four stages.
        strides: Pixels of the image per cell of each map, not falling, each a part of the
            next. The first one is the stride of the results.
        edge_channels: Channels that the boundary branch reduces each map to.
        edge_groups: Groups of its group norms.
        channels: Channels that the displacement branch reduces each map to.
        groups: Groups of its group norms, one number for each map.
        joined: Channels of the displacement branch after maps are joined.
        radius: Radius of the pairs of the random walk, in cells.
        train_radius: Radius of the pairs that are trained on. They start where all of
            their partners are on the map, as in PSA.
        crop_size: Images are padded with zeros at the bottom and on the right to this
            size, ``(H, W)`` or one number for both, before the network sees them; larger
            ones only to a multiple of the largest stride. None pads no further than that.
        affinity_loss: Config of the loss of affinities against the kinds of pairs.
        displacement_loss: Config of the loss of displacements against the same.
        mean: RGB mean of the images, in 0..255.
        std: RGB standard deviation.
        init_cfg: mmengine's.

    Attributes:
        mean_displacement: ``(2,)`` mean displacement of the training images, which is
            subtracted outside of training; a
            :class:`~wsss_plugins.affinity.MeanDisplacementHook` measures it.

    Raises:
        ConfigError: ``in_channels``, ``strides``, ``channels`` and ``groups`` have
            different lengths, or the strides are not as said.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        in_channels: Sequence[int] = (64, 256, 512, 1024, 2048),
        strides: Sequence[int] = (4, 4, 8, 16, 16),
        edge_channels: int = 32,
        edge_groups: int = 4,
        channels: Sequence[int] = (64, 128, 256, 256, 256),
        groups: Sequence[int] = (8, 16, 16, 16, 16),
        joined: int = 256,
        radius: int = 5,
        train_radius: int = 10,
        crop_size: int | tuple[int, int] | None = None,
        affinity_loss: dict[str, Any] | None = None,
        displacement_loss: dict[str, Any] | None = None,
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        preprocessor = dict(type='ImgDataPreprocessor', mean=list(mean), std=list(std))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        for each in (radius, train_radius):
            check_pairs(each, 'psa')
        _check_maps(in_channels, strides, channels, groups)
        self.radius, self.train_radius = radius, train_radius
        self.stride, self.multiple = strides[0], strides[-1]
        pair = (crop_size, crop_size) if isinstance(crop_size, int) else crop_size
        self.crop_size = pair or (0, 0)
        self.backbone = build_as(MODELS, backbone, BaseModule)
        steps = [stride // self.stride for stride in strides]
        self.edges = nn.ModuleList(
            _Reduction(many, edge_channels, edge_groups, step)
            for many, step in zip(in_channels, steps, strict=True)
        )
        self.edge = nn.Conv2d(edge_channels * len(steps), 1, 1)
        self._build_displacements(in_channels, channels, groups, joined, steps)
        self.register_buffer('mean_displacement', torch.zeros(2))
        self.affinity_loss = build_as(
            MODELS, affinity_loss or dict(type='AffinityLoss'), nn.Module
        )
        self.displacement_loss = build_as(
            MODELS, displacement_loss or dict(type='DisplacementLoss'), nn.Module
        )
        self.train()

    def _build_displacements(
        self,
        in_channels: Sequence[int],
        channels: Sequence[int],
        groups: Sequence[int],
        joined: int,
        steps: Sequence[int],
    ) -> None:
        """Builds the displacement branch, which joins the maps of coarse grids first."""
        self.fine = steps.count(1)
        coarse = steps[self.fine] if self.fine < len(steps) else 1
        self.displacements = nn.ModuleList(
            _Reduction(old, new, many, max(step // coarse, 1))
            for old, new, many, step in zip(
                in_channels, channels, groups, steps, strict=True
            )
        )
        width = sum(channels[: self.fine])
        self.coarse: nn.Module | None = None
        if self.fine < len(steps):
            many = sum(channels[self.fine :])
            self.coarse = _Reduction(many, joined, groups[-1], coarse)
            width += joined
        self.mixed = _Reduction(width, joined, groups[-1], 1)
        self.displacement = nn.Conv2d(joined, 2, 1, bias=False)

    def train(self, mode: bool = True) -> IRNet:
        """Sets the mode; the backbone stays in evaluation mode and gets no gradient."""
        super().train(mode)
        self.backbone.eval()
        self.backbone.requires_grad_(False)
        return self

    def normalise(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` RGB in 0..255, as the backbone wants them."""
        prepare = self.data_preprocessor
        return (images - prepare.mean) / prepare.std

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the boundaries ``(N, 1, h, w)``, and displacements ``(N, 2, h, w)``.

        Outside of training the mean displacement is subtracted.

        Args:
            images: ``(N, 3, H, W)``, normalised.
        """
        with torch.no_grad():
            features = self.backbone(images)
        size = features[0].shape[-2:]
        edges = [
            reduce(each, size)
            for reduce, each in zip(self.edges, features, strict=True)
        ]
        joined = self._displacements(features, size)
        if not self.training:
            joined = joined - self.mean_displacement[:, None, None]
        return self.edge(torch.cat(edges, 1)), joined

    def _displacements(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        many = self.fine
        reduced = [
            reduce(each, size if i < many else features[many].shape[-2:])
            for i, (reduce, each) in enumerate(
                zip(self.displacements, features, strict=True)
            )
        ]
        found = reduced[:many]
        if self.coarse is not None:
            found.append(self.coarse(torch.cat(reduced[many:], 1), size))
        return self.displacement(self.mixed(torch.cat(found, 1), size))

    def pairs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Affinities and differences of displacements of the pairs that are trained on.

        Args:
            images: ``(N, 3, H, W)``, normalised.

        Returns:
            ``(N, P, F)`` in [0, 1], and ``(N, 2, P, F)``: the displacement of the pixel
            minus that of its partner.
        """
        edge, displacement = self.maps(images)
        source, target = pair_indices(*edge.shape[-2:], self.train_radius, 'psa')
        source, target = source.to(edge.device), target.to(edge.device)
        affinities = boundary_affinities(edge[:, 0].sigmoid(), self.train_radius)
        flat = displacement.flatten(2)
        differences = flat[..., source].unsqueeze(2) - flat[..., target]
        return affinities.flatten(2)[..., source], differences

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            images: ``(N, 3, H, W)``, normalised.
            labels: ``(N, h, w)``: 0 background, 1.. classes, 255 unsure.

        Raises:
            DataError: The labels are not on the grid of the maps, or that is too small
                for any pair.
        """
        grid = [-(-side // self.stride) for side in pixels_of(self.backbone, images)]
        if list(labels.shape[1:]) != grid:
            raise DataError(
                f'labels of {tuple(labels.shape[1:])} do not fit the grid {tuple(grid)}: '
                f'give their transform the stride of IRNet, {self.stride}'
            )
        affinities, differences = self.pairs(images)
        bg_pos, fg_pos, neg = pair_labels(labels, self.train_radius, 'psa')
        offsets = pair_offsets(self.train_radius)
        losses = dict(self.affinity_loss(affinities, bg_pos, fg_pos, neg))
        return losses | self.displacement_loss(differences, offsets, bg_pos, fg_pos)

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
            mode: ``'loss'`` returns a dict of losses, ``'predict'`` what
                :meth:`boundaries_and_displacements` returns, ``'tensor'`` what
                :meth:`maps` returns.
        """
        if mode == 'loss':
            labels = [sample.gt_sem_seg.data for sample in data_samples or []]
            return self.loss(inputs, torch.cat(labels))
        if mode == 'predict':
            return self.boundaries_and_displacements(inputs)
        return self.maps(inputs)

    def boundaries(self, images: Tensor) -> Tensor:
        """Boundary strength ``(N, h, w)`` in [0, 1] of normalised images."""
        return self.boundaries_and_displacements(images)[0]

    @torch.no_grad()
    def boundaries_and_displacements(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Results of whole images: boundaries of both views, displacements of one.

        Args:
            images: ``(N, 3, H, W)``, normalised.

        Returns:
            The boundary strength ``(N, h, w)`` in [0, 1], the sigmoid of the mean logit of
            the image and of its mirror image, and the displacements ``(N, 2, h, w)`` in
            cells; h and w are H and W over the stride, rounded up.
        """
        height, width = images.shape[-2:]
        sides = [
            max(least, -(-side // self.multiple) * self.multiple)
            for least, side in zip(self.crop_size, (height, width), strict=True)
        ]
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        edges, fields = [], []
        for view in (images, images.flip(-1)):
            padded = F.pad(view, (0, sides[1] - width, 0, sides[0] - height))
            edge, field = self.maps(padded)
            edges.append(edge[:, 0, :rows, :columns])
            fields.append(field[..., :rows, :columns])
        return ((edges[0] + edges[1].flip(-1)) / 2).sigmoid(), fields[0]


class _Reduction(nn.Module):
    """A 1x1 convolution, group norm, enlargement to a finer grid, and ReLU, in this order."""

    def __init__(self, old: int, new: int, groups: int, step: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(old, new, 1, bias=False)
        self.norm = nn.GroupNorm(groups, new)
        self.step = step

    def forward(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Maps ``(N, old, h, w)`` as ``(N, new, *size)``: enlarged by the step and cropped."""
        maps = self.norm(self.conv(maps))
        if self.step > 1:
            maps = F.interpolate(
                maps, scale_factor=self.step, mode='bilinear', align_corners=False
            )
        return maps[..., : size[0], : size[1]].relu()


def _check_maps(*given: Sequence[int]) -> None:
    """Refuses arguments of :class:`IRNet` that do not fit each other.

    Raises:
        ConfigError: The lengths differ, or a stride is no multiple of the one before.
    """
    _, strides, _, _ = given
    steps = itertools.pairwise(strides)
    if len({*map(len, given)}) > 1 or not strides or any(b % a for a, b in steps):
        raise ConfigError(
            'IRNet needs in_channels, strides, channels and groups of one length, and '
            'each stride a multiple of the one before, not '
            f'{", ".join(str(tuple(each)) for each in given)}',
            token='strides',
        )
