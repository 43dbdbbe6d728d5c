"""AFA: each loss by its definition, and when each begins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_plugins.affinity import square_window
from wsss_plugins.backbones import TimmViT, capture, raw_attention
from wsss_plugins.classifiers import AFAClassifier
from wsss_plugins.classifiers.refined_labels import Walk, refined_labels, walked_labels
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import equal_pairs
from wsss_plugins.structures import ClassSample

SIZE = (32, 48)
LABELS = torch.tensor([[1, 0, 1], [0, 1, 0]]).double()
BOXES = ((0, 32, 0, 48), (4, 32, 0, 40))


def build(depth: int = 3, **options: Any) -> AFAClassifier:
    torch.manual_seed(0)
    decoder = dict(in_channels=16, channels=8, dilation=1, num_classes=4)
    options = dict(dict(seg_after=-1, radius=1, scales=(1.0,)), **options)
    return AFAClassifier(
        backbone=TimmViT(
            img_size=32, patch_size=8, embed_dim=16, depth=depth, num_heads=2
        ),
        head=dict(type='MaxTokenHead', num_classes=3),
        decode_head=dict(type='LargeFOVHead', form='toco', **decoder),
        **options,
    ).double()


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(256, (2, 3, *SIZE)).double()


@pytest.fixture
def samples() -> list[ClassSample]:
    return [ClassSample(metainfo=dict(img_box=box)) for box in BOXES]


def class_maps(model: AFAClassifier, images: Tensor) -> Tensor:
    """At one scale, of both views, in [0, 1]."""
    views = []
    for view in (images, images.flip(-1)):
        logits = model.cam_logits(model.backbone(view))
        views.append(F.interpolate(logits, SIZE, mode='bilinear', align_corners=False))
    larger = torch.maximum(views[0], views[1].flip(-1)).clamp(min=0)
    larger = larger - larger.amin((2, 3), keepdim=True)
    return larger / (larger.amax((2, 3), keepdim=True) + 1e-5)


def affinities(model: AFAClassifier, images: Tensor) -> Tensor:
    """From queries and keys that are caught where timm's attention computes them."""
    caught: list[Tensor] = []
    handles = [
        block.attn.qkv.register_forward_hook(lambda *args: caught.append(args[2]))
        for block in model.backbone.blocks()[-2:]
    ]
    model.backbone(images)
    for handle in handles:
        handle.remove()
    products = []
    for qkv in caught:
        query, key, _ = qkv[:, 1:].reshape(2, 24, 3, 2, 8).permute(2, 0, 3, 1, 4)
        products.append(query @ key.transpose(-2, -1))
    both = torch.cat(products, 1)
    layer = model.affinity_head.proj
    mixed = torch.einsum('nkpq,k->npq', both + both.mT, layer.weight[0, :, 0, 0])
    return (mixed + layer.bias).sigmoid()


@pytest.mark.parametrize('follows', [False, True])
@torch.no_grad()
def test_losses_by_their_definition(pixels, samples, follows: bool) -> None:
    """The first step learns from refined maps, the second from maps that walked."""
    model = build(walk_after=0, affinity_follows=follows)
    images = model.normalise(pixels)
    colours, boxes = pixels / 255, torch.tensor(BOXES)
    given = (model.averaging, colours, class_maps(model, images), LABELS, boxes)
    refined = refined_labels(*given, model.thresholds)
    near = square_window(4, 6, 1)
    walk = Walk(affinities(model, images), (4, 6), near)
    walked = walked_labels(*given, model.thresholds, walk)
    assert not torch.equal(refined, walked)
    logits = F.interpolate(
        model.decode_head([model.backbone(images).patch]),
        SIZE,
        mode='bilinear',
        align_corners=False,
    )
    for step, target in enumerate((refined, walked)):
        losses = model.loss(images, LABELS, samples)
        assert set(losses) == {'loss_patch', 'loss_seg', 'loss_affinity'}
        wanted = [
            F.cross_entropy(logits.movedim(1, -1)[kind], target[kind])
            for kind in (target == 0, (target > 0) & (target < 255))
            if kind.any()
        ]
        torch.testing.assert_close(losses['loss_seg'], 0.1 * 0.5 * sum(wanted))
        taught = (target if follows else refined)[:, ::8, ::8]
        pairs = equal_pairs(taught, near)
        alike, unlike = pairs == 1, pairs == 0
        cost = ((1 - walk.affinities) * alike).sum() / (alike.sum() + 1)
        cost = cost + (walk.affinities * unlike).sum() / (unlike.sum() + 1)
        torch.testing.assert_close(losses['loss_affinity'], 0.1 * 0.5 * cost)
        assert int(model.steps) == step + 1


def test_the_largest_scale_gives_the_affinities(pixels, samples) -> None:
    model = build(walk_after=-1, scales=(1.0, 0.5, 1.5))
    batch = model.batch_of(model.normalise(pixels), LABELS, samples)
    asked = []
    model.window = lambda grid, like: asked.append(grid) or square_window(*grid, 1)
    model.targets(batch, walked=True)
    assert asked[-1] == (6, 9) and asked[0] == (4, 6)


def test_the_paper_has_the_energy_and_plain_sums(pixels, samples) -> None:
    released, paper = build(walk_after=-1), build(walk_after=-1, preset='paper')
    assert released.energy_loss is None and paper.energy_loss.loss_weight == 0.01
    assert (released.shift, paper.shift) == (None, 0.0)
    images = paper.normalise(pixels)
    assert set(paper.loss(images, LABELS, samples)) == {
        'loss_patch',
        'loss_seg',
        'loss_energy',
        'loss_affinity',
    }
    assert build(preset='paper', energy=0.0).energy_loss is None


def test_evaluation_counts_no_steps(pixels, samples) -> None:
    model = build().eval()
    model.loss(model.normalise(pixels), LABELS, samples)
    assert int(model.steps) == 0
    model.train().loss(model.normalise(pixels), LABELS, samples)
    assert int(model.steps) == 1 and 'steps' in model.state_dict()


def test_raw_attention_of_a_block_that_has_none_is_refused(pixels) -> None:
    with pytest.raises(ConfigError, match='block 0 is the first one'):
        build(depth=1, blocks=(-1,))
    with pytest.raises(ConfigError, match='the backbone has blocks 0 to 2'):
        build(blocks=(3,))
    with pytest.raises(ConfigError, match='radius must be >= 0, not -1'):
        build(radius=-1)
    model = build()
    with capture(model.backbone, pixels, attention=False) as trace:
        [found] = raw_attention(model.backbone, trace.hidden, trace.grid, [2])
    assert found.shape == (2, 2, 24, 24)
