"""Small backbones of every kind, for the contract tests."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsss_plugins.backbones import TokenBackbone, Tokens
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as

VIT = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
TIMM = dict(img_size=(32, 48), embed_dim=24, depth=3, num_heads=3)
DISTILLED = dict(name='deit_tiny_distilled_patch16_224', **TIMM)
HYBRID = dict(name='vit_tiny_r_s16_p8_384', img_size=64, embed_dim=24, num_heads=3)
MAPS = dict(
    type='TimmMaps',
    name='test_efficientnet',
    indices=(2, 3),
    final=True,
    frozen=False,
)
CLASSES = 4


def _vit(type: str = 'TimmViT', **options: Any) -> dict[str, Any]:
    return dict(type=type, **VIT, **options)


class Tokened(NamedTuple):
    """A config of a :class:`TokenBackbone` and what it is."""

    config: dict[str, Any]
    channels: int
    stride: int
    prefix: int = 0
    classes: int = 0


TOKENED: dict[str, Tokened] = {
    'vit': Tokened(_vit(), 24, 8, 1, 1),
    'vit-registers': Tokened(_vit(reg_tokens=3), 24, 8, 4, 1),
    'vit-registers-alone': Tokened(_vit(reg_tokens=3, class_token=False), 24, 8, 3),
    'vit-no-norm': Tokened(_vit(final_norm=False), 24, 8, 1, 1),
    'vit-bilinear': Tokened(_vit(pos_embed='bilinear'), 24, 8, 1, 1),
    'vit-recomputed': Tokened(_vit(checkpoint=True), 24, 8, 1, 1),
    'vit-conv-stem': Tokened(_vit(stem='conv'), 24, 8, 1, 1),
    'vit-group-stem': Tokened(_vit(stem='conv_group'), 24, 8, 1, 1),
    'vit-distilled': Tokened(dict(type='TimmViT', **DISTILLED), 24, 16, 2, 1),
    'vit-hybrid': Tokened(dict(type='TimmViT', depth=2, **HYBRID), 24, 32, 1, 1),
    'ex-vit': Tokened(_vit('ExViT', fuse_blocks=2), 24, 8, 1, 1),
    'ex-vit-fused': Tokened(_vit('ExViT', patch='fused'), 24, 8, 1, 1),
    'ex-vit-no-class': Tokened(_vit('ExViT', class_token=False), 24, 8),
    'ex-vit-distilled': Tokened(dict(type='ExViT', **DISTILLED), 24, 16, 2, 1),
    'class-tokens': Tokened(_vit('MultiClassTokenViT', num_classes=4), 24, 8, 4, 4),
    'class-tokens-distilled': Tokened(
        dict(type='MultiClassTokenViT', num_classes=4, **DISTILLED), 24, 16, 5, 4
    ),
    'cnn': Tokened(dict(type='TimmCNN', name='test_resnet', output_stride=8), 96, 8),
    'cnn-coarse': Tokened(
        dict(type='TimmCNN', name='test_resnet', output_stride=32), 96, 32
    ),
    'resnet38': Tokened(
        dict(type='CNNBackbone', net=dict(type='WideResNet38', base_channels=2)),
        128,
        8,
    ),
    'vgg16': Tokened(
        dict(
            type='CNNBackbone',
            net=dict(type='VGG16LargeFOV', base_channels=2, fc_channels=12),
        ),
        12,
        8,
    ),
    'maps': Tokened(dict(type='CNNBackbone', net=MAPS), 256, 32),
    'hybrid-on-maps': Tokened(
        dict(type='HybridViT', net=MAPS, in_index=(1, 2), img_size=64, embed_dim=24),
        24,
        16,
        1,
        1,
    ),
    'ex-vit-on-maps': Tokened(
        dict(type='ExViT', stem=dict(net=MAPS), **dict(VIT, img_size=64)), 24, 8, 1, 1
    ),
    'conformer': Tokened(dict(type='ConformerBackbone', arch='tiny'), 256, 32),
}
"""Every kind of :class:`TokenBackbone`; a new one adds a line."""


class Mapped(NamedTuple):
    """A config of a backbone of mmsegmentation, channels and strides of its maps."""

    config: dict[str, Any]
    maps: tuple[tuple[int, int], ...]


MAPPED: dict[str, Mapped] = {
    'patch-maps': Mapped(dict(type='PatchMaps', backbone=_vit()), ((24, 8),)),
    'patch-maps-class-tokens': Mapped(
        dict(type='PatchMaps', backbone=_vit('MultiClassTokenViT', num_classes=4)),
        ((24, 8),),
    ),
    'maps': Mapped(MAPS, ((32, 8), (48, 16), (256, 32))),
    'conv-stem': Mapped(
        dict(type='TransformerStem', stem='conv', **VIT), ((6, 2), (12, 4), (24, 8))
    ),
    'vgg16': Mapped(
        dict(type='VGG16LargeFOV', base_channels=2, fc_channels=12), ((12, 8),)
    ),
    'resnet38': Mapped(
        dict(type='WideResNet38', base_channels=2), ((16, 8), (32, 8), (128, 8))
    ),
}
"""Every kind of backbone that gives feature maps; a new one adds a line."""


def build(config: dict[str, Any], seed: int = 0) -> Any:
    """The backbone in float64 and in evaluation mode, with no weight that is zero.

    Weights that start with 0 or 1 (biases, norms, the bias of E-MHA) would hide what is
    not saved, loaded or read.
    """
    torch.manual_seed(seed)
    cls = nn.Module if config['type'] in _of_maps() else TokenBackbone
    backbone = build_as(MODELS, config, cls).double().eval()
    with torch.no_grad():
        for tensor in (*backbone.parameters(), *backbone.buffers()):
            if tensor.is_floating_point():
                tensor += 0.05 * torch.rand_like(tensor)
    return backbone


def _of_maps() -> set[str]:
    return {case.config['type'] for case in MAPPED.values()}


def outputs(found: Tokens | tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Everything that a backbone returned, by name."""
    if isinstance(found, Tokens):
        named = vars(found)
        return {name: value for name, value in named.items() if value is not None}
    assert isinstance(found, tuple), f'maps are a tuple, not {type(found).__name__}'
    return {str(i): value for i, value in enumerate(found)}


def has_mmpretrain() -> bool:
    """Whether Conformer can be built here."""
    try:
        build_as(MODELS, TOKENED['conformer'].config, TokenBackbone)
    except ConfigError:
        return False
    return True
