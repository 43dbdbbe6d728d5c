"""Every map of the transformer-attribution goldens, in float64 to 1e-9 of its maximum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import image_labels, lrp_classifier

from wsss_plugins.backbones import capture, capture_relevance
from wsss_plugins.lrp import COMPOSITES
from wsss_plugins.seeds import (
    AttentionGradCAM,
    AttentionRollout,
    FullLRP,
    GenericAttentionRelevance,
    LRPRollout,
    PartialLRP,
    RawAttention,
    TransformerAttribution,
    class_slots,
)

NAMES = ['vit_a', 'vit_b', 'vit_c_rect', 'vit_d_hybrid']
RULES = {'ours': 'chefer', 'orig': 'chefer_lrp'}

# Maps that the original leaves empty: the array, image and class index.
ALL_ZERO = {
    ('vit_b', 'gradcam_raw', 0, 0),
    ('vit_d_hybrid', 'gradcam_raw', 0, 1),
    ('vit_c_rect', 'last_layer/orig', 2, 1),
}
NOT_A_NUMBER = {
    ('vit_b', 'gradcam_minmax', 0, 0),
    ('vit_d_hybrid', 'gradcam_minmax', 0, 1),
}


def heads():
    """The head of each array; with what epsilon of the last norm it was made."""
    made = {
        'rollout_start0': AttentionRollout(0),
        'rollout_start1': AttentionRollout(1),
        'last_layer_attn': RawAttention(),
        'gradcam_raw': AttentionGradCAM(),
        'gradcam_minmax': AttentionGradCAM(),
        'generic_relevance': GenericAttentionRelevance(),
    }
    for key, rules in RULES.items():
        made[f'full_lrp/{key}'] = FullLRP(rules)
        for start in (0, 1):
            name = f'transformer_attribution_start{start}/{key}'
            made[name] = TransformerAttribution(start, rules)
            made[f'cam_rollout_start{start}/{key}'] = LRPRollout(start, rules)
        for layer, block in (('last_layer', -1), ('second_layer', 1)):
            made[f'{layer}/{key}'] = PartialLRP(block, rules=rules)
            made[f'{layer}_ablation/{key}'] = PartialLRP(block, True, rules)
    return made


HEADS = heads()
PLAIN_MODEL = ('rollout', 'gradcam', 'generic')  # made with the last norm's eps 1e-6


def maps_in(arrays):
    skipped = ('logits', 'Rsum')
    keys = [k[4:] for k in arrays if k.startswith('f64/')]
    return [k for k in keys if not k.startswith(skipped)]


@pytest.mark.parametrize('name', NAMES)
def test_lrp_maps(golden, name):
    arrays = golden(name)
    model, config, images = lrp_classifier(arrays)
    labels = image_labels(arrays['classes'], config['num_classes'])
    keys = maps_in(arrays)
    assert len(keys) >= 16 and set(keys) <= set(HEADS)
    for key in keys:
        plain = key.startswith(PLAIN_MODEL)
        model.backbone.vit.norm.eps = 1e-6 if plain else 1e-5
        maps = raw_maps(key, model, images, labels)
        for (b, k), c in np.ndenumerate(arrays['classes']):
            want = arrays[f'f64/{key}'][b]
            want = want if key.startswith(('rollout', 'last_layer_attn')) else want[k]
            compare((name, key, b, k), maps[b, c].reshape(want.shape), want)


def raw_maps(key, model, images, labels):
    """The map as the original returned it: clamped and scaled only for GradCAM."""
    maps = HEADS[key].signed_maps(model, images, labels).numpy()
    if not key.startswith('gradcam'):
        return maps
    maps = maps.clip(0)
    if key == 'gradcam_raw':
        return maps
    low, high = maps.min((2, 3), keepdims=True), maps.max((2, 3), keepdims=True)
    with np.errstate(invalid='ignore'):
        return (maps - low) / (high - low)


def compare(case, got, want):
    if case in NOT_A_NUMBER:
        assert np.isnan(want).all() and np.isnan(got).all(), case
    elif case in ALL_ZERO:
        assert not want.any() and not got.any(), case
    else:
        assert np.isfinite(want).all() and want.any(), case
        atol = 1e-9 * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=str(case))


@pytest.mark.parametrize('name', NAMES)
def test_lrp_logits(golden, name):
    arrays = golden(name)
    model, _, images = lrp_classifier(arrays)
    for key, eps in (('f64/logits', 1e-5), ('f64/logits_ViT_new', 1e-6)):
        model.backbone.vit.norm.eps = eps
        got = model(images)['class'].detach()
        np.testing.assert_allclose(got, arrays[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize('rules', RULES)
@pytest.mark.parametrize('name', NAMES)
def test_lrp_at_block_boundaries(golden, name, rules):
    """Sums of relevance at every block's input, and the relevance itself."""
    arrays = golden(name)
    model, config, images = lrp_classifier(arrays)
    model.backbone.vit.norm.eps = 1e-5
    composite = COMPOSITES[RULES[rules]]
    sums = arrays[f'f64/Rsum_block_boundary/{rules}']  # (B, K, D + 1)
    view = model.backbone.explicit(0)
    passed = []
    hooks = [
        b.register_forward_pre_hook(lambda _, x: passed.append(x[0]))
        for b in view.blocks
    ]
    hooks.append(view.norm.register_forward_pre_hook(lambda _, x: passed.append(x[0])))
    with composite(view, model.head):
        scores = model.class_logits(view(images)[0])
    for hook in hooks:
        hook.remove()
    for k in range(sums.shape[1]):
        chosen = image_labels(arrays['classes'][:, k : k + 1], config['num_classes'])
        found = torch.autograd.grad(scores, passed, chosen, retain_graph=True)
        got = torch.stack([r.sum((1, 2)) for r in found], 1).numpy()
        np.testing.assert_allclose(got, sums[:, k], rtol=1e-8, atol=1e-8)
        if k == 0 and f'R_block_boundary/{rules}' in arrays:
            want = arrays[f'R_block_boundary/{rules}']
            got = torch.stack([r[0] for r in found]).numpy()
            for level, tensor in zip(got, want, strict=True):
                atol = 2e-7 * np.abs(tensor).max()  # the golden is rounded to float32
                np.testing.assert_allclose(level, tensor, rtol=0, atol=atol)


@pytest.mark.parametrize('name', ['vit_a', 'vit_c_rect', 'vit_d_hybrid'])
def test_lrp_internals(golden, name):
    """Attention, its gradient and its relevance, rounded to float32 in the goldens."""
    arrays = golden(name)
    if 'internals/attn' not in arrays:
        pytest.skip(f'{name}.npz holds no internals')
    model, config, images = lrp_classifier(arrays)
    model.backbone.vit.norm.eps = 1e-5
    labels = image_labels(arrays['classes'], config['num_classes'])
    slots = class_slots(labels)
    order = {  # which slot holds image b's k-th class
        (b, k): int(slots[:, b, c].argmax())
        for (b, k), c in np.ndenumerate(arrays['classes'])
    }

    def close(got, want, what):
        atol = 1e-6 * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=what)

    with capture(model.backbone, images) as trace:
        attn = torch.stack(trace.attn, 1).detach()
        close(attn, arrays['internals/attn'], 'attn')
        back = trace.backward(model.class_logits(trace.tokens), slots, trace.attn)
        gradients = torch.stack([torch.stack(g, 1) for g in back]).numpy()
    for (b, k), slot in order.items():
        close(gradients[slot, b], arrays['internals/attn_grad'][b, k], 'attn_grad')
    for key, rules in RULES.items():
        composite = COMPOSITES[rules]
        with capture_relevance(model.backbone, images, composite, start=0) as trace:
            with composite(model.head):
                scores = model.class_logits(trace.tokens)
            back = trace.backward(scores, slots, trace.attn)
            relevance = torch.stack([torch.stack(r, 1) for r in back]).numpy()
        for (b, k), slot in order.items():
            want = arrays[f'internals/attn_cam/{key}'][b, k]
            close(relevance[slot, b], want, f'attn_cam/{key}')
