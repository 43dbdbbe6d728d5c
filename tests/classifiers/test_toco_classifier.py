"""ToCo: both contrasts by their definition, the teacher, the crops and the second view."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.backbones import TimmViT, capture
from wsss_plugins.classifiers import ToCoClassifier
from wsss_plugins.classifiers.online_labels import labels_of_maps, local_crops
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import ClassContrastOfCropsLoss, PatchContrastLoss
from wsss_plugins.structures import ClassSample

SIZE = (32, 48)
LABELS = torch.tensor([[1, 0, 1], [0, 1, 0]]).double()
BOXES = ((0, 32, 0, 48), (4, 32, 0, 40))
HEAD = dict(hidden=12, bottleneck=6, out=10)
THRESHOLDS = dict(high=0.6, low=0.3, background=0.5)


def build(prefix: bool = True, **options: Any) -> ToCoClassifier:
    torch.manual_seed(0)
    decoder = dict(in_channels=16, channels=8, dilation=1, num_classes=4)
    vit = dict(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2)
    given = dict(seg_after=-1, scales=(1.0,), crops=3, crop_size=16, energy=0.0)
    return ToCoClassifier(
        backbone=TimmViT(class_token=prefix, **vit),
        head=dict(type='MaxTokenHead', num_classes=3),
        decode_head=dict(type='LargeFOVHead', form='toco', **decoder),
        contrast_head=HEAD,
        thresholds=THRESHOLDS,
        **dict(given, **options),
    ).double()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, *SIZE, dtype=torch.float64)


@pytest.fixture
def samples() -> list[ClassSample]:
    return [ClassSample(metainfo=dict(img_box=box, draw=7)) for box in BOXES]


@pytest.mark.parametrize('preset', ['released', 'paper'])
def test_losses_by_their_definition(images, samples, preset: str) -> None:
    """With two views of each image; released boxes of tokens are those of pixels."""
    model = build(preset=preset, aux_block=-2)
    with torch.no_grad():
        for value in model.teacher.head.state_dict().values():
            value += 0.1 * torch.randn_like(value)
    second = torch.randn_like(images)
    before = {k: v.clone() for k, v in model.teacher.head.state_dict().items()}
    batch = model.batch_of(images, LABELS, samples)
    main, auxiliary = model.class_maps(batch)
    assert not torch.equal(main, auxiliary)
    losses = model.loss(torch.stack([images, second], 1), LABELS, samples)
    grid = F.interpolate(auxiliary, (4, 6), mode='bilinear', align_corners=False)
    boxes = torch.tensor(BOXES)
    if preset == 'paper':
        boxes = torch.tensor([[0, 4, 0, 6], [0, 4, 0, 5]])
    wanted = labels_of_maps(grid, LABELS, model.thresholds, boxes)
    with capture(model.backbone, images, attention=False) as trace:
        tokens = trace.tokens
        early = trace.hidden[1][:, 1:].mT.unflatten(2, (4, 6))
    contrast = PatchContrastLoss(form=preset)(tokens.patch, wanted)
    torch.testing.assert_close(losses['loss_patches'], contrast)
    logits = early.amax((2, 3)) @ model.aux_head.fc.weight.T
    entropy = F.multilabel_soft_margin_loss(logits, LABELS)
    torch.testing.assert_close(losses['loss_patch_auxiliary'], entropy)

    strongest = (auxiliary * LABELS[:, :, None, None]).amax(1)
    region = torch.ones_like(strongest).masked_fill(strongest <= 0.3, 0)
    region = region.masked_fill(strongest >= 0.6, 2)
    crops, flags = local_crops(second, region, 16, 3, draws=[7, 7])
    parts = [images, second, *crops]
    ours = torch.cat([model.backbone(part).prefix[:, 0] for part in parts])
    student = dict(model.contrast_head.named_parameters())
    for key, value in model.teacher.head.state_dict().items():
        if key in student:
            followed = 0.9 * before[key] + 0.1 * student[key]
            torch.testing.assert_close(value, followed)
    crop_loss = ClassContrastOfCropsLoss(form=preset)(
        model.contrast_head(ours), model.teacher.head(ours[:4]), flags
    )
    torch.testing.assert_close(losses['loss_crops'], crop_loss)


def test_one_view_has_its_mirror_image_as_the_other(images, samples) -> None:
    one = build().loss(images, LABELS, samples)
    both = torch.stack([images, images.flip(-1)], 1)
    two = build().loss(both, LABELS, samples)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_numbers_of_the_samples_choose_the_crops(images, samples) -> None:
    model = build(crop_size=8)
    maps = torch.zeros(2, 3, *SIZE).double()
    found = {}
    for draw in (1, 1, 2):
        for sample in samples:
            sample.set_metainfo(dict(draw=draw))
        batch = model.batch_of(images, LABELS, samples)
        crops, _ = model.local_crops(maps, batch, images)
        assert torch.equal(found.setdefault(draw, crops), crops)
    assert not torch.equal(found[1], found[2])


@pytest.mark.parametrize(
    ('after', 'source', 'names'),
    [(-1, 0, {'loss_patches', 'loss_crops'}), (0, 1, {'loss_crops'})],
)
def test_before_the_contrasts_the_decoder_learns_from_the_second_head(
    images, samples, after: int, source: int, names: set[str]
) -> None:
    """As on COCO."""
    model = build(contrast_after=after)
    seen = []
    average = model.averaging.average
    model.averaging.average = lambda maps, kernel: (
        seen.append(maps) or average(maps, kernel)
    )
    losses = model.loss(images, LABELS, samples)
    maps = model.class_maps(model.batch_of(images, LABELS, samples))[source]
    assert {name for name in losses if name in ('loss_patches', 'loss_crops')} == names
    small = F.interpolate(maps, (16, 24), mode='bilinear', align_corners=False)
    ground = torch.full_like(small[:1, :1], 0.6)
    shares = torch.cat([ground, small[:1, [0, 2]]], 1).softmax(1)
    torch.testing.assert_close(seen[0][:1], shares)


@pytest.mark.parametrize(
    ('wrong', 'said'),
    [
        (dict(crops=0), 'crops >= 1'),
        (dict(momentum=1.0), r'a momentum in \[0, 1\)'),
        (dict(aux_block=5), 'blocks 0 to 2'),
        (dict(prefix=False), 'has none: take a vision transformer with one'),
    ],
)
def test_mistakes_are_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build(**wrong)


def test_a_crop_as_large_as_the_image_is_refused(images, samples) -> None:
    with pytest.raises(ConfigError, match='crop_size=32 must be at least 1 and less'):
        build(crop_size=32).loss(images, LABELS, samples)
