"""Small classifiers of every kind that a seed head may meet, for the contract tests."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import timm
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import Tensor, nn

from wsss_plugins.backbones import ExViT, MultiClassTokenViT, TimmCNN, TimmViT
from wsss_plugins.classifiers import ACRClassifier, TimmClassifier, WSSSClassifier

CLASSES = 5
LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 0, 1]])
LABELS = torch.cat([LABELS, 1 - LABELS])  # each class is on half of the images
VIT = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)


def _vit(prefix: int = 1, **arch: Any) -> VisionTransformer:
    cls = VisionTransformer if prefix == 1 else VisionTransformerDistilled
    return cls(num_classes=0, **{**VIT, **arch})


def _with_head(
    backbone: Any, kind: type = WSSSClassifier, **head: Any
) -> WSSSClassifier:
    head = dict(dict(type='TokenHead', num_classes=CLASSES), **head)
    return kind(backbone=backbone, head=head)


def _attributes(prefix: int = 1, patch: str = 'last') -> WSSSClassifier:
    backbone = ExViT(_vit(prefix), fuse_blocks=2, patch=patch)
    return _with_head(backbone, type='AttributeHead', channels=24, attributes=4)


def _class_tokens(prefix: int = 1, **head: Any) -> WSSSClassifier:
    backbone = MultiClassTokenViT(_vit(prefix), num_classes=CLASSES)
    vit: Any = backbone.vit
    nn.init.normal_(vit.cls_token)  # of the same token as many copies
    return _with_head(backbone, type='MCTHead', **head)


def _hybrid(**kwargs: Any) -> HybridEmbed:
    stem = timm.create_model('test_resnet', features_only=True, out_indices=[2])
    return HybridEmbed(stem, **dict(kwargs, patch_size=1))


def _timms(name: str, **arch: Any) -> WSSSClassifier:
    small = dict(depth=3, embed_dim=24, num_heads=2, img_size=(64, 96))
    return TimmClassifier(timm.create_model(name, num_classes=CLASSES, **small, **arch))


MODELS: dict[str, Callable[[], WSSSClassifier]] = {
    'vit': lambda: _with_head(TimmViT(_vit())),
    'vit-two-prefix': lambda: _with_head(TimmViT(_vit(2))),
    'vit-registers': lambda: _with_head(TimmViT(_vit(reg_tokens=3))),
    'vit-registers-alone': lambda: _with_head(
        TimmViT(reg_tokens=3, class_token=False, **VIT), sources=('patch',)
    ),
    'vit-acr': lambda: _with_head(TimmViT(_vit()), ACRClassifier),
    'vit-max-token': lambda: _with_head(TimmViT(_vit()), type='MaxTokenHead'),
    'vit-patch-logits': lambda: _with_head(TimmViT(_vit()), sources=('patch',)),
    'vit-two-prefix-conv': lambda: _with_head(TimmViT(_vit(2)), type='ConvHead'),
    'vit-conv-stem': lambda: _with_head(TimmViT(stem='conv', **VIT)),
    'hybrid': lambda: _with_head(TimmViT(_vit(embed_layer=_hybrid))),
    'timm-distilled': lambda: _timms('deit_tiny_distilled_patch16_224'),
    'timm-attention-pool': lambda: _timms('vit_so150m_patch16_reg4_map_256'),
    'timm-mean-pool': lambda: _timms('vit_base_patch16_reg4_gap_256'),
    'emha': lambda: _with_head(ExViT(_vit())),
    'emha-two-prefix': lambda: _with_head(ExViT(_vit(2))),
    'emha-no-prefix': lambda: _with_head(
        ExViT(class_token=False, **VIT), sources=('patch',)
    ),
    'ex-vit': _attributes,
    'ex-vit-fused-two-prefix': lambda: _attributes(2, 'fused'),
    'class-tokens': _class_tokens,
    'class-tokens-distilled': lambda: _class_tokens(2),
    'class-tokens-alone': lambda: _class_tokens(sources=('class',)),
    'cnn': lambda: _with_head(
        TimmCNN('test_resnet', output_stride=8), sources=('patch',)
    ),
}
"""How to build each; a new kind of backbone or classifier adds a line."""


def non_square_images(model: WSSSClassifier) -> Tensor:
    """Six images of 3 times 5 patches."""
    stride = model.backbone.stride
    numbers = torch.Generator().manual_seed(1)
    size = (6, 3, 3 * stride, 5 * stride)
    return torch.randn(size, generator=numbers, dtype=torch.float64)


@cache
def trained(name: str) -> WSSSClassifier:
    """A model that has learnt :data:`LABELS` of the images by heart, in float64.

    Every class that is present then has a positive logit: a seed head has something to
    show of each. The same object is returned each time; change a copy.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[name]().double().eval()
        images = non_square_images(model)
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(200):
            tokens = model.backbone(images)
            if (model.class_logits(tokens) * (2 * LABELS - 1)).min() > 0.5:
                break
            losses = model.head_losses(tokens, LABELS.double())
            optimiser.zero_grad()
            sum(losses.values()).backward()
            optimiser.step()
        model.zero_grad()
    return model


def with_classes_in_another_order(
    model: WSSSClassifier, order: Tensor
) -> WSSSClassifier:
    """A copy whose class i is class ``order[i]`` of ``model``: the same, renamed."""
    renamed = copy.deepcopy(model)
    with torch.no_grad():
        for layer in renamed.head.modules():
            if (
                getattr(layer, 'weight', None) is not None
                and len(layer.weight) == CLASSES
            ):
                for parameter in layer.parameters():
                    parameter.copy_(parameter[order])
        if renamed.backbone.num_class_tokens == CLASSES:
            vit: Any = renamed.backbone.vit
            vit.cls_token[:, :CLASSES] = vit.cls_token[:, order]
            vit.pos_embed[:, :CLASSES] = vit.pos_embed[:, order]
    return renamed
