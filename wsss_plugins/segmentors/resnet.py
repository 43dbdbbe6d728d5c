"""mmsegmentation's ResNet with the differences and the weights of DeepLab's ResNet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmseg.models.backbones import ResNet
from torch import Tensor

from wsss_plugins.backbones import load_weights, read_weights
from wsss_plugins.registry import MODELS

_PORTED = re.compile(
    r'(?:base\.)?layer(?P<layer>\d)\.(?:block(?P<block>\d+)\.)?'
    r'(?P<part>conv1|reduce|conv3x3|increase|shortcut)\.(?P<kind>conv|bn)\.(?P<tensor>\w+)'
)
_PLACE = dict(conv1=1, reduce=1, conv3x3=2, increase=3)


@MODELS.register_module()
class DeepLabResNet(ResNet):
    """A ResNet whose first pooling rounds up, as the Caffe model of DeepLab does.

    Output stride 8 is ``strides=(1, 2, 1, 1)`` and ``dilations=(1, 1, 2, 4)``. Frozen batch
    norms are ``norm_eval=True`` (statistics) and ``norm_cfg=dict(type='BN',
    requires_grad=False)`` (scale and shift). Weights decide on the rest: those of
    torchvision have their strides in the 3x3 convolutions (``style='pytorch'``,
    ``contract_dilation=True``), those of Caffe in the first 1x1 (``style='caffe'``,
    ``contract_dilation=False``).

    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; Chen et
    al., "DeepLab", PAMI 2017.

    Args:
        ceil_mode: Whether the first pooling rounds up; mmseg's rounds down.
        with_stem: Whether the map after the first pooling is returned too, as the first.
            IRN reads it; its ResNet-50 has ``ceil_mode=False``, ``style='pytorch'``,
            ``strides=(1, 2, 2, 1)`` and ``dilations=(1, 1, 1, 1)``.
        pretrained: A file of weights in the names of torchvision, or in those of the port
            kazuto1011/deeplab-pytorch (``layer2.block1.reduce.conv.weight``).
        init_cfg: Initialisation config of mmengine; not used with ``pretrained``.
        kwargs: Arguments of mmseg's ``ResNet``.

    Raises:
        CheckpointError: The weights cannot be read or do not fit.
    """

    def __init__(
        self,
        ceil_mode: bool = True,
        with_stem: bool = False,
        pretrained: str | None = None,
        init_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # An empty init_cfg keeps mmseg from re-initialising the loaded weights.
        super().__init__(init_cfg={} if pretrained else init_cfg, **kwargs)
        self.maxpool.ceil_mode = ceil_mode
        self.with_stem = with_stem
        if pretrained:
            weights = torchvision_names(read_weights(pretrained))
            report = load_weights(self, weights, pretrained, strict=False)
            print_log(f'{pretrained}: {report}', logger='current')

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps of the chosen stages, after that of the first pooling if it is wanted."""
        if not self.with_stem:
            return super().forward(images)
        stem = self.stem if self.deep_stem else self._shallow_stem
        maps = self.maxpool(stem(images))
        found = [maps]
        for index, name in enumerate(self.res_layers):
            maps = getattr(self, name)(maps)
            if index in self.out_indices:
                found.append(maps)
        return tuple(found)

    def _shallow_stem(self, images: Tensor) -> Tensor:
        return self.relu(self.norm1(self.conv1(images)))


def torchvision_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the weights of the DeepLab port; others keep their names.

    ``layer1`` of the port is the stem, and its layers 2 to 5 are ResNet's 1 to 4.
    """
    return {_torchvision_name(name): value for name, value in weights.items()}


def _torchvision_name(name: str) -> str:
    found = _PORTED.fullmatch(name)
    if found is None or (found['part'] == 'conv1') is (found['block'] is not None):
        return name
    prefix = ''
    if found['block']:
        prefix = f'layer{int(found["layer"]) - 1}.{int(found["block"]) - 1}.'
    if found['part'] == 'shortcut':
        place = f'downsample.{int(found["kind"] == "bn")}'
    else:
        place = f'{found["kind"]}{_PLACE[found["part"]]}'
    return f'{prefix}{place}.{found["tensor"]}'
