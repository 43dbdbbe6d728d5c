"""Every registered single-stage classifier keeps one contract, on a ViT and on kept features.

A new one is found the moment it registers; what it cannot do without goes into OPTIONS.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from wsss_plugins import classifiers, refiners, segmentors  # noqa: F401
from wsss_plugins.classifiers import SingleStageClassifier
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import MODELS, SEED_HEADS, build_as
from wsss_plugins.seeds import SeedHead
from wsss_plugins.stages import PredictStage
from wsss_plugins.structures import ClassSample

KINDS = [
    name
    for name, kind in MODELS.module_dict.items()
    if isinstance(kind, type) and issubclass(kind, SingleStageClassifier)
]
OPTIONS: dict[str, dict[str, Any]] = dict(
    AFAClassifier=dict(walk_after=-1, blocks=(-1,)),
    ToCoClassifier=dict(
        aux_block=0,
        crops=2,
        crop_size=32,
        contrast_head=dict(hidden=16, bottleneck=8, out=12),
        energy=0.0,
    ),
)
CLASSES = 4
DECODER = dict(channels=8, num_classes=CLASSES + 1, dropout_ratio=0.0)
SIZE = (64, 96)
NET = dict(type='TimmMaps', name='test_efficientnet', indices=(2, 3))
BACKBONES: dict[str, dict[str, Any]] = dict(
    vit=dict(type='TimmViT', patch_size=16),
    hybrid=dict(type='HybridViT', net=NET, in_index=(0,)),
)
LABELS = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 1]])


def build(name: str, backbone: str, **options: Any) -> SingleStageClassifier:
    torch.manual_seed(0)
    size = dict(img_size=64, embed_dim=24, depth=2, num_heads=2)
    last = 0 if backbone == 'vit' else 2
    decoder = dict(type='GlobalContextHead', in_channels=(24,), in_index=(last,))
    config = dict(
        type=name,
        backbone={**BACKBONES[backbone], **size},
        head=dict(type='MaxTokenHead', num_classes=CLASSES),
        decode_head=dict(decoder, **DECODER),
        scales=(1.0, 0.5) if backbone == 'vit' else (1.0,),
        seg_after=-1,
        thresholds=dict(high=0.4, low=0.4, background=0.4),  # none are unsure
        **({} if backbone == 'vit' else dict(mean=(0.0,), std=(1.0,))),
    )
    return build_as(
        MODELS, {**config, **OPTIONS.get(name, {}), **options}, SingleStageClassifier
    )


@cache
def photos() -> Tensor:
    numbers = torch.Generator().manual_seed(1)
    return torch.randint(256, (2, 3, *SIZE), generator=numbers, dtype=torch.uint8)


def samples(photo: bool, **meta: Any) -> list[ClassSample]:
    found = []
    for image, label in zip(photos(), LABELS, strict=True):
        sample = ClassSample(metainfo=dict(draw=3, **meta))
        sample.gt_label = label
        if photo:
            sample.photo = image[:, ::2, ::2]
        found.append(sample)
    return found


def given(model: SingleStageClassifier, backbone: str) -> Tensor:
    """What the network is trained on: pixels, or kept features."""
    images = photos().float()
    if backbone == 'vit':
        return model.normalise(images)
    return model.packed(images)


@pytest.fixture(params=KINDS)
def name(request) -> str:
    return request.param


@pytest.fixture(params=BACKBONES)
def backbone(request) -> str:
    return request.param


def test_there_are_some() -> None:
    assert {'AFAClassifier', 'ToCoClassifier'} <= set(KINDS)


@pytest.mark.parametrize('after', [-1, 0])
def test_every_weight_gets_a_gradient_before_and_after_the_decoder_begins(
    name: str, backbone: str, after: int
) -> None:
    """Distributed training waits for those of weights that no loss reaches."""
    model = build(name, backbone, seg_after=after)
    inputs = given(model, backbone)
    losses = model(inputs, samples(backbone == 'hybrid'), mode='loss')
    assert all(loss.isfinite() for loss in losses.values())
    assert {'loss_patch', 'loss_seg'} <= set(losses)
    assert (losses['loss_seg'] > 0) == (after < 0)
    sum(losses.values()).backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert not [n for n, p in trained.items() if p.grad is None]
    reached = model.decode_head.conv_seg.weight.grad.any()
    assert reached == (after < 0) and int(model.steps) == 1


def test_it_learns_masks_from_its_own_maps(name: str, backbone: str) -> None:
    model = build(name, backbone)
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=3e-3
    )
    inputs, batch = given(model, backbone), samples(backbone == 'hybrid')
    found = []
    for _ in range(12):
        losses = model(inputs, batch, mode='loss')
        found.append(sum(losses.values()).item())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert found[-1] < found[0]


@pytest.mark.parametrize('labels', [0.0, 1.0])
def test_a_batch_without_objects_or_of_nothing_else_is_no_nan(
    name: str, labels: float
) -> None:
    """The released codes divide by the number of pixels of each kind."""
    model = build(name, 'vit')
    batch = samples(False)
    for sample in batch:
        sample.gt_label = torch.full((CLASSES,), labels)
    losses = model(given(model, 'vit'), batch, mode='loss')
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_padding_teaches_nothing(name: str) -> None:
    """Labels outside of the box are unsure, whatever the pixels are."""
    model = build(name, 'vit')
    seen = []
    term = model.decode_head.loss_decode
    term.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    model(given(model, 'vit'), samples(False, img_box=(16, 64, 0, 50)), mode='loss')
    [target] = seen
    assert target.shape == (2, *SIZE)
    outside = torch.ones(SIZE, dtype=torch.bool)
    outside[16:, :50] = False
    assert (target[:, outside] == 255).all() and (target[:, ~outside] != 255).any()


def test_samples_alone_decide_what_is_drawn(name: str) -> None:
    model = build(name, 'vit')
    inputs = given(model, 'vit')
    found = []
    for _ in range(2):
        again = copy.deepcopy(model)
        found.append(again(inputs, samples(False), mode='loss'))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def test_both_presets(name: str) -> None:
    for_both = [
        build(name, 'vit', preset=preset)(
            given(build(name, 'vit'), 'vit'), samples(False), mode='loss'
        )
        for preset in ('released', 'paper')
    ]
    total = [sum(losses.values()).item() for losses in for_both]
    assert total[0] != total[1]
    with pytest.raises(ConfigError, match=r"unknown form 'papers'.*'paper'"):
        build(name, 'vit', preset='papers')


def test_kept_features_stand_for_the_photos(name: str) -> None:
    model = build(name, 'hybrid')
    images, colours = photos().float(), samples(True)
    kept = model.packed(images)
    assert kept.shape[-2:] != images.shape[-2:]
    found = [
        copy.deepcopy(model)(inputs, colours, mode='loss')['loss_patch']
        for inputs in (kept, images)
    ]
    torch.testing.assert_close(*found)
    torch.testing.assert_close(model.encode_decode(kept), model.encode_decode(images))
    torch.testing.assert_close(model.mirrored(model.mirrored(kept)), kept)
    with pytest.raises(DataError, match='put LoadPhoto after LoadView'):
        model(kept, samples(False), mode='loss')
    several = build(name, 'hybrid', scales=(1.0, 0.5))
    with pytest.raises(ConfigError, match=r'one scale.*set scales=\(1.0,\)'):
        several(kept, colours, mode='loss')


def test_a_stage_predicts_masks_without_labels(name: str, backbone: str) -> None:
    model = build(name, backbone).eval()
    stage = PredictStage('p', 'm', dict(data_root='', split=''), scales=(1.0, 0.5))
    shares = stage.probabilities(model, photos()[0, :, :50, :77])
    assert shares.shape == (CLASSES + 1, 50, 77)
    torch.testing.assert_close(shares.sum(0), torch.ones(50, 77))
    with torch.no_grad():
        logits = model.encode_decode(model.normalise(photos().float()), [])
    assert logits.shape == (2, CLASSES + 1, *SIZE)


def test_a_seed_head_reads_it_as_any_classifier(name: str, backbone: str) -> None:
    model = build(name, backbone).eval()
    head = build_as(SEED_HEADS, dict(type='CAM'), SeedHead)
    maps = head(model, model.normalise(photos().float()), LABELS)
    with torch.no_grad():
        tokens = model.backbone(model.normalise(photos().float()))
    wanted = model.cam_logits(tokens).relu() * LABELS[:, :, None, None]
    torch.testing.assert_close(maps, wanted)


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        (dict(drop_patches=0.5), 'set drop_patches=0'),
        (dict(scales=()), 'scales must be > 0'),
        (dict(thresholds=dict(high=0.2, low=0.5, background=0.3)), 'thresholds need'),
        (dict(refiner=dict(type='DenseCRF')), 'DenseCRF is no refiner'),
    ],
)
def test_mistakes_are_one_line(name: str, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        build(name, 'vit', **wrong)
    assert '\n' not in str(error.value)


def test_a_decoder_for_other_classes_is_refused(name: str) -> None:
    decoder = dict(type='GlobalContextHead', in_channels=(24,), in_index=(0,))
    with pytest.raises(ConfigError, match='has 4 classes, and needs 5'):
        build(name, 'vit', decode_head=dict(decoder, channels=8, num_classes=4))
