"""The convolutional branch of Conformer, where mmpretrain is installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from wsss_plugins.backbones.cnn import CNNBackbone
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS

ARCHS = ('tiny', 'small', 'base')
STRIDES = (16, 32)


@MODELS.register_module()
class ConformerBackbone(CNNBackbone):
    """The last feature map of Conformer's convolutional branch.

    The branch exchanges features with the transformer branch in every block. The
    attention cannot be captured. The network and the names of its weights are those of
    mmpretrain.

    Source: Peng et al., Conformer: Local Features Coupling Global Representations for
    Visual Recognition, 2021.

    Args:
        arch: 'tiny', 'small' or 'base', of 256, 1024 or 1536 channels.
        output_stride: 32 as published, or 16, where the last block has stride 1 and the
            same weights.
        pretrained: A file of weights, such as mmpretrain's.
        norm_eval: See :class:`CNNBackbone`.
        frozen: See :class:`CNNBackbone`.
        init_cfg: mmengine's.

    Raises:
        ConfigError: mmpretrain is not installed, or ``arch`` or ``output_stride`` is
            unknown.
        CheckpointError: The weights cannot be read or do not fit.
    """

    def __init__(
        self,
        arch: str = 'small',
        output_stride: int = 32,
        pretrained: str | None = None,
        norm_eval: bool | None = None,
        frozen: Sequence[str] = (),
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        for key, value, allowed in (
            ('arch', arch, ARCHS),
            ('output_stride', output_stride, STRIDES),
        ):
            if value not in allowed:
                raise ConfigError(
                    f'{key} of Conformer must be one of {allowed}, not {value!r}',
                    token=key,
                )
        net = _network()(arch=arch, norm_eval=False, frozen_stages=0)
        last = _last(net)
        if output_stride == 16:
            for name in ('conv2', 'residual_conv'):
                last.fusion_block.get_submodule(name).stride = (1, 1)
        net.trans_norm.requires_grad_(False)  # of the other branch's output
        super().__init__(net, -1, pretrained, norm_eval, frozen, init_cfg)

    def _map(self, images: Tensor) -> Tensor:
        """The feature map of the last block, whose mean the network itself returns."""
        seen: list[Tensor] = []
        handle = _last(self.net).register_forward_hook(
            lambda _, __, output: seen.append(output[0])
        )
        try:
            self.net(images)
        finally:
            handle.remove()
        return seen[0]


def _network() -> Any:
    """The class of mmpretrain.

    Raises:
        ConfigError: mmpretrain is not installed.
    """
    try:
        return importlib.import_module('mmpretrain.models.backbones').Conformer
    except ImportError as error:
        raise ConfigError(
            f'Conformer is a network of mmpretrain, which cannot be imported ({error}): '
            'pip install onedl-mmpretrain model-index',
            token='ConformerBackbone',
        ) from error


def _last(net: nn.Module) -> Any:
    """The last block of both branches."""
    return net.get_submodule(f'conv_trans_{net.depths}')
