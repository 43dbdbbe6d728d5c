"""ToCo's parts against arrays of its original code: tolerances of the golden README.

Not compared: the energy filtered on a lattice, as the sum is exact here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.backbones import capture
from wsss_plugins.classifiers.momentum import MomentumBranch
from wsss_plugins.classifiers.online_labels import (
    Thresholds,
    interest,
    labels_of_maps,
    local_crops,
    multi_scale_maps,
    present,
)
from wsss_plugins.classifiers.projection_head import ProjectionHead
from wsss_plugins.classifiers.refined_labels import (
    labels_by_colours,
    refined_labels,
    refined_shares,
)
from wsss_plugins.classifiers.toco import TOCO_THRESHOLDS, ToCoClassifier
from wsss_plugins.losses import (
    BalancedCrossEntropyLoss,
    ClassContrastOfCropsLoss,
    EnergyLoss,
    PatchContrastLoss,
    equal_pairs,
    gaussian_sums,
)
from wsss_plugins.refiners import PAR

TOCO_VOC = Thresholds(**TOCO_THRESHOLDS)
EXACT = dict(rtol=0, atol=1e-9)
close = np.testing.assert_allclose


def tensors(golden, name: str) -> dict[str, Tensor]:
    arrays = golden(name)
    return {k: torch.from_numpy(v) for k, v in arrays.items() if v.dtype.kind in 'fiub'}


def test_multi_scale_maps(golden) -> None:
    case = tensors(golden, 'toco_multiscale_cam')

    def maps_of(images: Tensor) -> list[Tensor]:
        return [F.conv2d(images, case[w], stride=8) for w in ('w_cam', 'w_aux')]

    for scales in ((1.0, 0.5, 1.5), (0.5, 1.5)):
        found = multi_scale_maps(maps_of, case['x'], scales)
        for maps, name in zip(found, ('cam', 'cam_aux'), strict=True):
            close(maps, case[name], **EXACT)


def test_labels_of_maps(golden) -> None:
    case = tensors(golden, 'toco_cam_to_label')
    maps, labels, boxes = case['cam'], case['cls_label'], case['img_box']
    close(present(maps, labels), case['valid_cam'], **EXACT)
    given = (maps, labels, TOCO_VOC)
    assert torch.equal(labels_of_maps(*given), case['label_no_box'])
    assert torch.equal(labels_of_maps(*given, boxes), case['label_box_ignore_mid'])
    plain = labels_of_maps(*given, boxes, unsure_middle=False)
    assert torch.equal(plain, case['label_box_no_mid'])
    assert torch.equal(interest(*given), case['roi_mask'])
    small = labels_of_maps(
        case['small_cam'], case['small_cls'], TOCO_VOC, case['small_box_in_pixels']
    )
    assert torch.equal(small, case['small_label'])


def test_a_pixel_at_both_thresholds_is_an_object(golden) -> None:
    case = tensors(golden, 'toco_cam_to_label')
    wanted = case['roi_mask_equal_thr']
    strongest = present(case['cam'], case['cls_label']).amax(1)
    number = float(strongest[wanted == 2].min())
    found = interest(case['cam'], case['cls_label'], Thresholds(number, number, number))
    assert torch.equal(found, wanted)


def test_patch_contrast(golden) -> None:
    case = tensors(golden, 'toco_ptc')
    own = torch.eye(20, dtype=torch.bool)
    assert torch.equal(equal_pairs(case['label'], ~own), case['aff_mask'].long())
    loss = PatchContrastLoss(loss_weight=1.0)
    for name, label in (
        ('', case['label']),
        ('_all_ignored', torch.full_like(case['label'], 255)),
        ('_all_same_class', torch.ones_like(case['label'])),
    ):
        tokens = case['fmap'].clone().requires_grad_()
        found = loss(tokens, label)
        close(found.item(), case[f'loss{name}'], **EXACT)
        found.backward()
        wanted = case[f'grad{name}' if name else 'grad_fmap']
        close(tokens.grad, wanted, **EXACT)


@pytest.mark.parametrize('temperature', [0.5, 1.0])
@pytest.mark.parametrize('kind', ['mixed', 'noneg'])
def test_class_contrast(golden, kind: str, temperature: float) -> None:
    case = tensors(golden, 'toco_ctc')
    flags = case['flags'] if kind == 'mixed' else torch.ones_like(case['flags'])
    student, teacher = (
        case[k].clone().requires_grad_() for k in ('student', 'teacher')
    )
    loss = ClassContrastOfCropsLoss(temperature, loss_weight=1.0)
    found = loss(student, teacher, flags)
    name = f'{kind}_t{temperature:g}'.replace('.', 'p')
    name = name if 'p' in name.split('_t')[1] else f'{name}p0'
    close(found.item(), case[f'loss_{name}'], **EXACT)
    found.backward()
    close(student.grad, case[f'grad_student_{name}'], **EXACT)
    close(teacher.grad, case[f'grad_teacher_{name}'], **EXACT)


def test_projection_head_and_its_average(golden) -> None:
    case = tensors(golden, 'toco_ctc_head')
    shapes = [case[f's.mlp.{k}.weight'].shape for k in (0, 2, 4)]
    sizes = (shapes[0][1], shapes[0][0], shapes[2][0])
    out = len(case['s.last_layer.weight_g'])

    def head(prefix: str) -> ProjectionHead:
        made = ProjectionHead(*sizes, out).double()
        names = {'lengths': 'last_layer.weight_g', 'directions': 'last_layer.weight_v'}
        state = {k: case[f'{prefix}.{names.get(k, k)}'] for k in made.state_dict()}
        made.load_state_dict(state)
        return made

    student, teacher = head('s'), MomentumBranch(head=head('t'))
    close(student(case['x']).detach(), case['out_student'], **EXACT)
    close(teacher.head(case['x']), case['out_teacher_before'], **EXACT)
    student.lengths = torch.nn.Parameter(student.lengths)  # averaged like a weight
    teacher.follow(0.9, head=student)
    close(teacher.head(case['x']), case['out_teacher_after'], **EXACT)


@pytest.mark.parametrize('iterations', [1, 3, 10, 15])
def test_par(golden, iterations: int) -> None:
    case = tensors(golden, 'toco_par')
    few = iterations in (1, 3)
    par = PAR(
        iterations, dilations=(1, 2) if few else (1, 2, 4, 8, 12, 24), as_released=True
    )
    masks = F.interpolate(
        case['masks'], case['images'].shape[2:], mode='bilinear', align_corners=True
    )
    kernel = par.kernel(case['images'])
    if few:
        close(kernel[:, 1:], case['aff_d12'][:, 0], **EXACT)
    name = f'out_d12_i{iterations}' if few else f'out_default_i{iterations}'
    close(par.average(masks, kernel), case[name], **EXACT)


def test_refined_labels(golden) -> None:
    case = tensors(golden, 'toco_refine_labels')
    names = ('images', 'cams', 'cls_labels', 'img_box')
    given = (PAR(as_released=True), *(case[name] for name in names))
    backgrounds = (TOCO_VOC.high, TOCO_VOC.low)
    high, low = labels_by_colours(*given, backgrounds)
    assert torch.equal(high, case['label_high'].long())
    assert torch.equal(low, case['label_low'].long())
    for index, kinds in enumerate((('high', 'low'), ('high',))):
        maps = case['cams'][index, case['cls_labels'][index] > 0]
        shares = refined_shares(given[0], case['images'][index], maps, backgrounds)
        for kind, each in zip(kinds, shares, strict=False):
            stored = case[f'refined_map_image{index}_{kind}']
            assert stored.dtype == torch.float32
            close(each[None], stored, rtol=0, atol=1e-7)
    found = refined_labels(*given, TOCO_VOC)
    assert torch.equal(found, case['refined_label'].long())
    assert set(found.unique().tolist()) >= {0, 255}


def test_crops(golden) -> None:
    case = tensors(golden, 'toco_crops')
    orders = [case[f'perm{i}'].long() for i in range(3)]
    crops, flags = local_crops(case['images'], case['roi_mask'], 10, 4, orders)
    close(crops, case['crops'], **EXACT)
    assert torch.equal(flags.long(), case['flags'].long())


def test_segmentation_loss_and_a_batch_without_objects(golden) -> None:
    """The original is NaN where a kind of pixels is missing; here that part is 0."""
    case = tensors(golden, 'toco_seg_loss')
    loss = BalancedCrossEntropyLoss(0.5, 0.5, over='batch')
    logits = case['logits'].clone().requires_grad_()
    found = loss(logits, case['label'].long())
    close(found.item(), case['loss'], **EXACT)
    found.backward()
    close(logits.grad, case['grad_logits'], **EXACT)
    assert case['loss_without_fg'].isnan()
    label = case['label_without_fg'].long()
    only = F.cross_entropy(case['logits'], label, ignore_index=255)
    close(loss(case['logits'], label).item(), 0.5 * only, **EXACT)


def test_energy(golden) -> None:
    case = tensors(golden, 'toco_energy_loss')
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    images = case['img_normalised'] * std + mean
    boxes = torch.zeros(len(images), 24, 24)
    for box, (top, bottom, left, right) in zip(
        boxes, case['img_box'].tolist(), strict=True
    ):
        box[top:bottom, left:right] = 1
    logits = case['logits'].clone().requires_grad_()
    energy = EnergyLoss(loss_weight=1.0)
    filtered = gaussian_sums(
        case['masked_prob'], energy._features(images[..., ::2, ::2])
    )
    close(filtered, case['filtered_exact'], rtol=1e-4)
    found = energy(logits, images, case['label'], boxes)
    close(found.item(), case['loss_exact'].item(), rtol=1e-4)
    found.backward()
    wanted = case['grad_logits_exact']
    close(logits.grad, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))


def phi(number: int, shape: tuple[int, ...]) -> Tensor:
    """The weights of the README for parameter ``number``, as those of a convolution."""
    many = int(np.prod(shape))
    i = torch.arange(many, dtype=torch.float64)
    waves = torch.sin(0.7 * i + 3 * torch.sin(0.13 * i) + 0.9 * number + 0.3)
    return waves.reshape(shape) * 2 / np.prod(shape[1:]) ** 0.5


@torch.no_grad()
def test_network(golden) -> None:
    """The forward pass of the whole model: tokens, both heads, the maps, the decoder."""
    case = tensors(golden, 'toco_network')
    vit = dict(img_size=48, patch_size=16, embed_dim=12, depth=5, num_heads=2)
    decoder = dict(in_channels=12, channels=512, dilation=5, num_classes=4)
    model = ToCoClassifier(
        backbone=dict(type='TimmViT', mlp_ratio=2, pos_embed='bicubic_plain', **vit),
        head=dict(type='MaxTokenHead', num_classes=3),
        decode_head=dict(type='LargeFOVHead', form='toco', **decoder),
        aux_block=-3,
    ).double()
    state = {k[2:]: v for k, v in case.items() if k.startswith('w.')}
    model.backbone.vit.load_state_dict(state)
    model.head.fc.weight.copy_(case['classifier_weight'][..., 0, 0])
    model.aux_head.fc.weight.copy_(case['aux_classifier_weight'][..., 0, 0])
    decoder = model.decode_head
    layers = [*(layer.conv for layer in decoder.layers), decoder.conv_seg]
    for number, layer in enumerate(layers):
        layer.weight.copy_(phi(number, tuple(layer.weight.shape)))
    images = case['image'].double()
    with capture(model.backbone, images, attention=False) as trace:
        tokens, auxiliary = trace.tokens, model.auxiliary(trace)
    close(tokens.prefix[:, 0], case['cls_token'], **EXACT)
    close(tokens.patch, case['fmap'], **EXACT)
    close(tokens.patch.flatten(2).transpose(1, 2), case['patch_tokens'], **EXACT)
    close(auxiliary.patch.flatten(2).transpose(1, 2), case['aux_tokens'], **EXACT)
    close(model.class_logits(tokens), case['cls_logits'], **EXACT)
    close(model.aux_head.pooled_logits(auxiliary), case['cls_aux_logits'], **EXACT)
    close(model.cam_logits(tokens), case['cam'], **EXACT)
    close(model.aux_head.patch_logits(auxiliary), case['cam_aux'], **EXACT)
    found = model.decode_head(model.decoder_maps(images, tokens))
    close(found, case['seg'], **EXACT)
