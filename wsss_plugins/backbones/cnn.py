"""Convolutional networks as backbones: their last feature map instead of patch tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsss_plugins.backbones.base import TokenBackbone, Tokens
from wsss_plugins.backbones.timm_maps import TimmMaps
from wsss_plugins.backbones.timm_weights import create_timm_model
from wsss_plugins.backbones.weights import LoadReport, load_weights, read_weights
from wsss_plugins.errors import ConfigError, DataError, near_names
from wsss_plugins.registry import MODELS, build_as

STRIDES = (8, 16, 32)


@MODELS.register_module()
class CNNBackbone(TokenBackbone):
    """A feature map as patch tokens, with neither prefix tokens nor attention.

    Its classifier needs a head on the patches alone (``sources=('patch',)``); with
    ``pool_fraction=1`` that is global average pooling and a linear layer, and the seed
    head ``CAM`` computes the class activation maps of Zhou et al. Seed heads that read
    attention refuse this backbone.

    Args:
        net: A network or its config, such as ``dict(type='WideResNet38')``, that maps
            images to one or several feature maps ``(N, D, h, w)``.
        index: Index of the feature map, if the network returns several.
        pretrained: A file of weights of the network, or of a classifier of this package
            with that network.
        norm_eval: Whether batch norms keep their statistics and weights, as in PSA and
            IRN; by default True where weights are given. A setting of the network
            itself is not changed.
        frozen: Names of parts of the network that are not trained, such as
            ``'layer1'``.
        init_cfg: mmengine's.

    Attributes:
        report: What was loaded, where weights were given.

    Raises:
        ConfigError: The network returns no feature map, or has no part of a name in
            ``frozen``.
        CheckpointError: The weights cannot be read or do not fit.
    """

    num_prefix = 0
    num_class_tokens = 0

    def __init__(
        self,
        net: dict[str, Any] | nn.Module,
        index: int = -1,
        pretrained: str | None = None,
        norm_eval: bool | None = None,
        frozen: Sequence[str] = (),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.net = build_as(MODELS, net, nn.Module)
        self.index = index
        self.embed_dims, self.stride, self.extra = self._measured()
        self.norm_eval = bool(pretrained) if norm_eval is None else norm_eval
        self.frozen = [self._part(name) for name in frozen]
        self.report: LoadReport | None = None
        if pretrained:
            self.report = self._load(pretrained)
        self._freeze()

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tokens:
        """See :meth:`TokenBackbone.forward`.

        Raises:
            ConfigError: ``keep`` is given: a CNN computes all patches.
            DataError: The map of the network is not of the size of :meth:`grid`.
        """
        if keep is not None:
            raise ConfigError(
                f'{self._name()} computes its whole map at once: set drop_patches=0',
                token='drop_patches',
            )
        patch = self._map(images)
        grid, given = self.grid(images), (patch.shape[2], patch.shape[3])
        if given != grid:
            height, width = images.shape[-2:]
            raise DataError(
                f'{self._name()} gives a map of {given[0]}x{given[1]} for images of '
                f'{height}x{width}, not of {grid[0]}x{grid[1]} as its stride '
                f'{self.stride} says: resize both sides to multiples of {self.stride}'
            )
        return Tokens(patch.new_zeros(len(patch), 0, self.embed_dims), patch)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Rows and columns of the map: the sides divided by the stride, rounded up.

        A network whose pooling adds a last row, as in LargeFOV, has one row more for
        sizes that are multiples of the stride.
        """
        height, width = (side + self.extra for side in self.pixels(images))
        return -(-height // self.stride), -(-width // self.stride)

    @property
    def multiple(self) -> int:
        """See :attr:`TokenBackbone.multiple`; the largest stride of a :class:`TimmMaps`."""
        return self.net.multiple if isinstance(self.net, TimmMaps) else self.stride

    def pixels(self, images: Tensor) -> tuple[int, int]:
        """See :meth:`TokenBackbone.pixels`."""
        if isinstance(self.net, TimmMaps):
            return self.net.pixels(images)
        return super().pixels(images)

    def attention_modules(self) -> list[nn.Module]:
        """An empty list, since a CNN has no attention."""
        return []

    def init_weights(self) -> None:
        """Initialises weights as mmengine does, except loaded weights."""
        if self.report is None:
            super().init_weights()

    def train(self, mode: bool = True) -> CNNBackbone:
        """Sets the mode of all parts that are not frozen."""
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        for module in self.net.modules():
            still = self.norm_eval and isinstance(module, _BatchNorm)
            if still or module in self.frozen:
                module.eval()
                module.requires_grad_(False)

    def _map(self, images: Tensor) -> Tensor:
        maps = self.net(images)
        return maps if isinstance(maps, Tensor) else maps[self.index]

    @torch.no_grad()
    def _measured(self) -> tuple[int, int, int]:
        """Measures channels, stride and additional rows of the map on two images."""
        if isinstance(self.net, TimmMaps):
            return self.net.channels[self.index], self.net.strides[self.index], 0
        training = self.net.training
        self.net.eval()
        like = next(self.net.parameters(), torch.zeros(()))
        sizes = like.new_zeros(1, 3, 32, 32), like.new_zeros(1, 3, 64, 64)
        small, large = (self._map(images) for images in sizes)
        self.net.train(training)
        rows = large.shape[2] - small.shape[2] if large.ndim == 4 else 0
        if not rows:
            raise ConfigError(
                f'{self._name()} gives {tuple(large.shape)} for an image of 64x64, not a '
                'feature map (1, D, h, w) of stride 32 or less: name another network'
            )
        stride = 32 // rows
        return large.shape[1], stride, int(large.shape[2] > 64 // stride)

    def _load(self, path: str) -> LoadReport:
        report = load_weights(self.net, self._named(read_weights(path)), path, False)
        print_log(f'{path}: {report}', logger='current')
        return report

    def _named(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights renamed to the names of the network."""
        pattern = re.compile(r'^(backbone\.)?(net\.)?')
        return {pattern.sub('', name): value for name, value in weights.items()}

    def _part(self, name: str) -> nn.Module:
        names = [part for part, _ in self.net.named_modules() if part]
        if name not in names:
            raise ConfigError(
                f"{self._name()} has no part '{name}' to freeze: "
                + near_names(name, [n for n in names if '.' not in n]),
                token=name,
            )
        return self.net.get_submodule(name)

    def _name(self) -> str:
        return type(self.net).__name__


@MODELS.register_module()
class TimmCNN(CNNBackbone):
    """A convolutional network of timm by name: ResNet, VGG and others.

    Weights keep the names of timm, which are torchvision's for ResNet and VGG, so that
    files of both load.

    Args:
        name: A timm model, e.g. ``'resnet50'``, ``'resnet101'``, ``'vgg16'``.
        output_stride: 8, 16 or 32. ResNets are dilated to it. A network that timm
            cannot dilate returns its deepest map of that stride, for example conv5_3 of
            VGG16 for stride 16.
        pretrained: True for timm's weights of that name, a path for a local file.
        norm_eval: See :class:`CNNBackbone`.
        frozen: See :class:`CNNBackbone`; IRN's ResNet50 has ``('conv1', 'bn1', 'layer1')``.
        init_cfg: mmengine's.

    Raises:
        ConfigError: The name, the stride or a part in ``frozen`` is unknown.
        CheckpointError: The weights cannot be loaded or do not fit.
    """

    def __init__(
        self,
        name: str,
        output_stride: int = 16,
        pretrained: bool | str | None = False,
        norm_eval: bool | None = None,
        frozen: Sequence[str] = (),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        if norm_eval is None:
            norm_eval = bool(pretrained)
        self.name = name
        super().__init__(
            build_cnn(name, output_stride, pretrained is True),
            pretrained=pretrained if isinstance(pretrained, str) else None,
            norm_eval=norm_eval,
            frozen=frozen,
            init_cfg=init_cfg,
        )

    def init_weights(self) -> None:
        """Does nothing: mmengine would overwrite the weights that timm has set."""

    def _named(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Renames weights as timm does, which flattens 'features' of a VGG."""
        named, own = super()._named(weights), self.net.state_dict()
        flat = {name: re.sub(r'^features\.', 'features_', name) for name in named}
        return {flat[n] if flat[n] in own else n: value for n, value in named.items()}

    def _name(self) -> str:
        return self.name


def build_cnn(name: str, output_stride: int, pretrained: bool) -> nn.Module:
    """Builds the part of a timm model whose last map has a stride.

    Args:
        name: See :class:`TimmCNN`.
        output_stride: See :class:`TimmCNN`.
        pretrained: Whether timm downloads its weights.

    Returns:
        The network; it maps images to a list of feature maps, that of ``output_stride``
        last.

    Raises:
        ConfigError: The name or the stride is unknown.
        CheckpointError: The weights cannot be fetched.
    """
    if output_stride not in STRIDES:
        raise ConfigError(
            f'output_stride must be one of {STRIDES}, not {output_stride}',
            token='output_stride',
        )
    if name.split('.')[0] not in timm.list_models():
        allowed = near_names(name, timm.list_models(['*resnet*', 'vgg*']))
        raise ConfigError(f"timm has no model '{name}': {allowed}", token=name)
    options: dict[str, Any] = dict(output_stride=output_stride)
    try:
        net = _create(name, pretrained, **options)
    except (AssertionError, NotImplementedError, TypeError):  # timm cannot dilate it
        options = {}
        net = _create(name, pretrained)
    strides = tuple(net.feature_info.reduction())
    if output_stride not in strides:
        raise ConfigError(
            f"timm's '{name}' has maps of the strides {strides}, not {output_stride}: "
            'set output_stride to one of them',
            token='output_stride',
        )
    last = max(i for i, stride in enumerate(strides) if stride == output_stride)
    if last == len(strides) - 1:
        return net
    return _create(name, pretrained, out_indices=(last,), **options)


def _create(name: str, pretrained: bool, **options: Any) -> Any:
    return create_timm_model(name, pretrained, features_only=True, **options)
