"""Models filled with the weights of a golden file."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import GroupNormAct, StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import WSSSClassifier

ARCH = (
    'img_size',
    'patch_size',
    'embed_dim',
    'depth',
    'num_heads',
    'mlp_ratio',
    'qkv_bias',
)


def prefixed(arrays, prefix):
    return {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}


def one_hot(index, classes):
    return F.one_hot(torch.as_tensor([index]), classes).double()


def classifier(weights, arch, final_norm=True, pos_embed='bicubic', vit=None):
    """A float64 classifier with one shared head, filled from timm-named weights."""
    backbone = TimmViT(final_norm=final_norm, pos_embed=pos_embed, **arch)
    if vit is not None:
        backbone.vit = vit
    classes = weights['head.weight'].shape[0]
    head = dict(type='TokenHead', num_classes=classes, shared=True, sources=('class',))
    model = WSSSClassifier(backbone=backbone, head=head).double().eval()
    weights = {k: torch.from_numpy(v).double() for k, v in weights.items()}
    model.head.fc.weight.data = weights.pop('head.weight')
    model.head.fc.bias.data = weights.pop('head.bias')
    backbone.vit.load_state_dict(weights, strict=True)
    return model


def lrp_classifier(arrays):
    """The network of one of the attribution goldens, its config and its images."""
    config = json.loads(str(arrays['config']))
    arch = {key: config[key] for key in ARCH}
    vit = (
        hybrid(arch, config['hybrid_backbone']) if 'hybrid_backbone' in config else None
    )
    model = classifier(prefixed(arrays, 'weights/'), arch, vit=vit)
    return model, config, torch.from_numpy(arrays['images']).double()


def hybrid(arch, stem):
    """timm's transformer on a small ResNetV2, as the golden's README describes it."""
    assert stem['conv_layer'].endswith('(eps=1e-8)')
    cnn = ResNetV2(
        layers=stem['layers'],
        channels=stem['channels'],
        stem_chs=stem['stem_chs'],
        num_classes=0,
        global_pool='',
        preact=False,
        stem_type='same',
        conv_layer=partial(StdConv2dSame, eps=1e-8),
        norm_layer=partial(GroupNormAct, num_groups=4),
    )
    embed = partial(HybridEmbed, backbone=cnn)
    arch = dict(arch, patch_size=1, embed_layer=embed)
    return VisionTransformer(num_classes=0, **arch)


def image_labels(classes, number):
    """Labels ``(B, C)`` in float64 of class ids ``(B, K)``."""
    labels = torch.zeros(len(classes), number, dtype=torch.float64)
    return labels.scatter_(1, torch.from_numpy(np.asarray(classes)).long(), 1)
