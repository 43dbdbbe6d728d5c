"""Maps of the released ACR code, array by array."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from models import classifier, one_hot, prefixed

from wsss_plugins.backbones import capture
from wsss_plugins.seeds import ACRGradientMap, MultiScaleFlip

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
