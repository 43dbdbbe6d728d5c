"""AFA's parts against arrays of its original code: tolerances of the golden README.

Not compared: ``out_sr2`` of ``afa_attention``, the output of MiT's own block.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.affinity import (
    AttentionAffinity,
    affinity_walk,
    raw_products,
    square_window,
)
from wsss_plugins.backbones import TimmViT, raw_attention
from wsss_plugins.classifiers.afa import AFA_THRESHOLDS
from wsss_plugins.classifiers.online_labels import (
    Thresholds,
    inside,
    labels_of_maps,
    present,
)
from wsss_plugins.classifiers.refined_labels import (
    Walk,
    refined_labels,
    refined_maps,
    walked_labels,
)
from wsss_plugins.losses import (
    AttentionAffinityLoss,
    BalancedCrossEntropyLoss,
    equal_pairs,
)
from wsss_plugins.refiners import PAR
from wsss_plugins.segmentors import WarmUpPolyLR

AFA_VOC = Thresholds(**AFA_THRESHOLDS)
EXACT = dict(rtol=0, atol=1e-9)
close = np.testing.assert_allclose


def tensors(golden, name: str) -> dict[str, Tensor]:
    arrays = golden(name)
    return {k: torch.from_numpy(v) for k, v in arrays.items() if v.dtype.kind in 'fiub'}


@pytest.mark.parametrize(
    ('height', 'width', 'radius'), [(4, 6, 1), (5, 5, 2), (7, 4, 3)]
)
def test_windows(golden, height: int, width: int, radius: int) -> None:
    wanted = tensors(golden, 'afa_radius_mask')[f'mask_h{height}w{width}r{radius}']
    assert torch.equal(square_window(height, width, radius), wanted.bool())


def test_loss_of_affinities(golden) -> None:
    case = tensors(golden, 'afa_aff_loss')
    cells = case['label'][:, ::16, ::16]
    window = square_window(*cells.shape[1:], 2)
    pairs = equal_pairs(cells, window)
    assert torch.equal(pairs, case['aff_label'].long())
    assert torch.equal(equal_pairs(cells), case['aff_label_no_mask'].long())
    affinities = case['attn_pred'].clone().requires_grad_()
    found = AttentionAffinityLoss(loss_weight=1.0)(affinities, pairs)
    close(found.item(), case['loss'], **EXACT)
    found.backward()
    close(affinities.grad, case['grad_attn_pred'], **EXACT)


@pytest.mark.parametrize('reduction', [1, 2])
def test_raw_attention(golden, reduction: int) -> None:
    case = tensors(golden, 'afa_attention')
    part = {
        k.split('.', 1)[1]: v
        for k, v in case.items()
        if k.startswith(f'sr{reduction}.')
    }
    tokens, heads = case['x'], 2

    def split(values: Tensor) -> Tensor:
        return values.unflatten(-1, (heads, -1)).transpose(1, 2)

    queries = split(F.linear(tokens, part['q.weight'], part['q.bias']))
    source = tokens
    if reduction > 1:
        maps = tokens.transpose(1, 2).unflatten(2, (4, 6))
        maps = F.conv2d(maps, part['sr.weight'], part['sr.bias'], stride=reduction)
        source = F.layer_norm(
            maps.flatten(2).transpose(1, 2),
            (16,),
            part['norm.weight'],
            part['norm.bias'],
        )
    keys = F.linear(source, part['kv.weight'], part['kv.bias'])[..., :16]
    found = raw_products(queries, split(keys), (4, 6), reduction)
    close(found, case[f'attn_sr{reduction}'], **EXACT)


def test_a_block_of_a_plain_transformer(golden) -> None:
    """Its output, and the raw attention that is computed again from its input."""
    case = tensors(golden, 'afa_attention')
    vit = dict(img_size=(64, 96), embed_dim=16, depth=2, num_heads=2, class_token=False)
    backbone = TimmViT(**vit).double()
    block = backbone.blocks()[1]
    block.norm1 = nn.Identity()
    with torch.no_grad():
        for name in ('weight', 'bias'):
            parts = [case[f'sr1.{part}.{name}'] for part in ('q', 'kv')]
            getattr(block.attn.qkv, name).copy_(torch.cat(parts))
            getattr(block.attn.proj, name).copy_(case[f'sr1.proj.{name}'])
        [found] = raw_attention(backbone, [case['x']], (4, 6), [1])
        close(found, case['attn_sr1'], **EXACT)
        close(block.attn(case['x']), case['out_sr1'], **EXACT)


def test_head(golden) -> None:
    case = tensors(golden, 'afa_attn_head')
    head = AttentionAffinity(16).double()
    head.proj.weight.data, head.proj.bias.data = case['proj_weight'], case['proj_bias']
    blocks = [case[f'attn_block{i}'].clone().requires_grad_() for i in (1, 2)]
    found = head(blocks)
    close(found.detach(), case['attn_pred'], **EXACT)
    (found * case['probe']).sum().backward()
    for block, index in zip(blocks, (1, 2), strict=True):
        close(block.grad, case[f'grad_block{index}'], **EXACT)
    close(head.proj.weight.grad, case['grad_proj_weight'], **EXACT)
    close(head.proj.bias.grad, case['grad_proj_bias'], **EXACT)
    weight = case['classifier_weight']
    close(F.conv2d(case['x4'], weight), case['cam'], **EXACT)
    pooled = case['x4'].amax((2, 3), keepdim=True)
    close(F.conv2d(pooled, weight)[..., 0, 0], case['cls_logits'], **EXACT)


def test_walk(golden) -> None:
    case = tensors(golden, 'afa_propagate')
    given = case['cams'], case['aff'], case['cls_labels']
    window = case['radius_mask'].bool()
    for name, background, pairs in (
        ('bkg_0p35', 0.35, window),
        ('bkg_0p55', 0.55, window),
        ('bkg_0p35_no_mask', 0.35, None),
    ):
        found = affinity_walk(*given, background, pairs)
        close(found, case[f'out_{name}'], **EXACT, err_msg=name)
    plain = affinity_walk(case['cams'], case['aff'], window=window)
    close(plain, case['out_plain'], **EXACT)


def test_refined_maps(golden) -> None:
    case = tensors(golden, 'afa_refine_cls')
    labels = case['labels_with_bkg'][:, 1:]
    par = PAR(as_released=True)
    stack = case['cams'][None]
    found = refined_maps(par, case['images'], stack, labels, case['img_box'])
    close(found[0], case['refined'], **EXACT)


def test_a_step_of_training(golden) -> None:
    """From class maps and affinities to both label maps and both losses."""
    case = tensors(golden, 'afa_train_pipeline')
    images = case['images_denorm'].double() / 255
    maps, labels, boxes = case['cams'].double(), case['cls_labels'], case['img_box']
    par = PAR(as_released=True)
    pseudo = refined_labels(par, images, maps, labels, boxes, AFA_VOC)
    assert torch.equal(pseudo, case['refined_pseudo_label'].long())
    plain = labels_of_maps(maps, labels, AFA_VOC, boxes)
    assert torch.equal(plain, case['pseudo_label'].long())
    side = case['aff_mat_f32'].shape[1] ** 0.5
    grid = (int(side), int(side))
    small = F.interpolate(
        present(maps, labels), grid, mode='bilinear', align_corners=False
    )
    walk = Walk(case['aff_mat_f32'].double(), grid, square_window(*grid, 2))
    full = affinity_walk(small, walk.affinities, labels, AFA_VOC.low, walk.window)
    full = F.interpolate(full, images.shape[2:], mode='bilinear', align_corners=False)
    close(full, case['aff_cam_low_f32'], rtol=0, atol=1e-6)
    box = inside(boxes, images.shape[2:])
    for score, name in ((AFA_VOC.low, 'low'), (AFA_VOC.high, 'high')):
        alone = Thresholds(score, score, score)
        label = walked_labels(par, images, maps, labels, boxes, alone, walk)
        assert torch.equal(label[box], case[f'aff_label_{name}'].long()[box])
    target = walked_labels(par, images, maps, labels, boxes, AFA_VOC, walk)
    assert torch.equal(target, case['seg_target_iter7000'].long())
    cells = pseudo[:, ::16, ::16]
    pairs = equal_pairs(cells, square_window(*cells.shape[1:], 2))
    assert torch.equal(pairs, case['affinity_label'].long())
    affinities = case['attn_pred'].double().requires_grad_()
    loss = AttentionAffinityLoss(loss_weight=1.0)(affinities, pairs)
    close(loss.item(), case['aff_loss'], **EXACT)
    loss.backward()
    close(affinities.grad, case['grad_attn_pred'], **EXACT)
    logits = case['segs'].double().requires_grad_()
    full = F.interpolate(logits, images.shape[2:], mode='bilinear', align_corners=False)
    balanced = BalancedCrossEntropyLoss(0.5, 0.5, over='batch')
    close(balanced(full, pseudo).item(), case['seg_loss_iter3000'], **EXACT)
    later = balanced(full, target)
    close(later.item(), case['seg_loss_iter7000'], **EXACT)
    later.backward()
    close(logits.grad, case['grad_segs_iter7000'], **EXACT)
    assert torch.equal(pseudo, case['seg_target_iter3000'].long())


def test_schedule(golden) -> None:
    case = tensors(golden, 'poly_warmup_adamw')
    first = nn.Parameter(torch.tensor([1.0, -2.0]).double())
    second = nn.Parameter(torch.tensor([0.5]).double())
    groups = [dict(params=[first], lr=0.01), dict(params=[second], lr=0.1)]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    schedule = WarmUpPolyLR(optimizer, power=0.9, warm_up=4, end=12)
    rates, path = [], []
    for _ in range(len(case['lr_used'])):
        rates.append([group['lr'] for group in optimizer.param_groups])
        loss = 0.3 * (first**2).sum() + 0.2 * (second - 1).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        path.append(torch.cat([first, second]).tolist())
    close(rates, case['lr_used'], **EXACT)
    close(path, case['trajectory'], **EXACT)
