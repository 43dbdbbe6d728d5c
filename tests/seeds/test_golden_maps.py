"""Maps of the original implementations, array by array."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.backbones import TimmViT, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.seeds import (
    ACRGradientMap,
    AttentionGradCAM,
    AttentionRollout,
    GenericAttentionRelevance,
    MultiScaleFlip,
)


def classifier(weights, arch, final_norm, pos_embed='bicubic'):
    """A float64 classifier with one shared head, filled from timm-named weights."""
    backbone = TimmViT(final_norm=final_norm, pos_embed=pos_embed, **arch)
    classes = weights['head.weight'].shape[0]
    head = dict(type='TokenHead', num_classes=classes, shared=True, sources=('class',))
    model = WSSSClassifier(backbone=backbone, head=head).double().eval()
    weights = {k: torch.from_numpy(v).double() for k, v in weights.items()}
    model.head.fc.weight.data = weights.pop('head.weight')
    model.head.fc.bias.data = weights.pop('head.bias')
    backbone.vit.load_state_dict(weights, strict=True)
    return model


def prefixed(arrays, prefix):
    return {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}


def one_hot(index, classes):
    return F.one_hot(torch.as_tensor([index]), classes).double()


ACR_ARCH = dict(img_size=64, patch_size=16, embed_dim=48, depth=4, num_heads=4)


def acr_model(arrays, size=64):
    arch = dict(ACR_ARCH, img_size=size)
    return classifier(
        prefixed(arrays, 'w.'), arch, final_norm=False, pos_embed='bilinear'
    )


@pytest.mark.parametrize('name', ['acr_cam_tinyvit', 'acr_cam_tinyvit_nonsquare'])
def test_acr_gradient_maps(golden, name):
    arrays = golden(name)
    model = acr_model(arrays)
    images = torch.from_numpy(arrays['x']).double()
    compared = 0
    for key, expected in arrays.items():
        match = re.fullmatch(
            r'(cam|ref)_(grad|grad_s|cam_grad|cam_grad_s)_s(\d)_c(\d+)', key
        )
        if not match:
            continue
        kind, variant, start, index = match.groups()
        head = ACRGradientMap(int(start), variant, affinity=kind == 'ref')
        maps = head(model, images, one_hot(int(index), 20))
        got = maps[0, int(index)].numpy()
        np.testing.assert_allclose(
            got, expected, rtol=0, atol=5e-6 * expected.max(), err_msg=key
        )
        compared += 1
    assert compared >= 16
    with torch.no_grad(), capture(model.backbone, images) as trace:
        logits = model.class_logits(trace.tokens)
        np.testing.assert_allclose(logits, arrays['cls_logits'], atol=5e-6)
        np.testing.assert_allclose(
            trace.patch_affinity(), arrays['patch_aff'], atol=2e-6
        )
        patch = model.cam_logits(trace.tokens).mean((2, 3))
        np.testing.assert_allclose(patch, arrays['patch_logits'], atol=5e-6)


def test_acr_whole_inference(golden):
    """One photo through both flips, upsampling and min-max, as the released script does."""
    arrays = golden('acr_infer_cam_e2e')
    size = arrays['net_input'].shape[-1]
    model = acr_model(arrays, size)
    labels = torch.zeros(1, 20, dtype=torch.float64)
    labels[0, arrays['classes']] = 1
    head = ACRGradientMap(int(arrays['start_layer']), str(arrays['func']))
    run = MultiScaleFlip(head, align_corners=True)
    images = torch.from_numpy(arrays['net_input']).double()
    maps = run(model, images, labels, tuple(arrays['image_rgb'].shape[:2])) * 2
    maps = maps[0, arrays['classes']]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    got = (maps - low) / (high - low + 1e-6)
    np.testing.assert_allclose(got, arrays['cams'], atol=2e-5)


@pytest.mark.parametrize(
    'name', ['vit_c_rect_baselines', 'vit_a', 'vit_b', 'vit_c_rect']
)
def test_attribution_baselines(golden, name):
    """Rollout, GradCAM and generic relevance in float64 to 1e-9 of the map's maximum."""
    arrays = golden(name)
    config = json.loads(str(arrays['config']))
    keys = (
        'img_size',
        'patch_size',
        'embed_dim',
        'depth',
        'num_heads',
        'mlp_ratio',
        'qkv_bias',
    )
    model = classifier(
        prefixed(arrays, 'weights/'), {k: config[k] for k in keys}, final_norm=True
    )
    images = torch.from_numpy(arrays['images']).double()
    classes = arrays['classes']  # (B, K)
    heads = {
        'rollout_start0': AttentionRollout(0),
        'rollout_start1': AttentionRollout(1),
        'gradcam_raw': AttentionGradCAM(),
        'generic_relevance': GenericAttentionRelevance(),
    }
    for key, head in heads.items():
        expected = arrays[f'f64/{key}']
        for k in range(classes.shape[1]):
            labels = F.one_hot(
                torch.from_numpy(classes[:, k]).long(), config['num_classes']
            )
            maps = head(model, images, labels.double())
            for b in range(len(images)):
                want = expected[b] if expected.ndim == 2 else expected[b, k]
                got = maps[b, classes[b, k]].flatten().numpy()
                assert np.isfinite(want).all()
                atol = 1e-9 * max(np.abs(want).max(), 1e-12)
                np.testing.assert_allclose(
                    got, want, rtol=0, atol=atol, err_msg=f'{key} {b} {k}'
                )
