"""Maps of class tokens: by their definition, and permuted with the classes."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import TimmViT, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import UserError
from wsss_plugins.registry import SEED_HEADS, build_as, plugin_names
from wsss_plugins.seeds import (
    AttentionGradCAM,
    AttentionRollout,
    GenericAttentionRelevance,
    MCTformerMap,
    RawAttention,
    SeedHead,
)

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])


@pytest.fixture
def images():
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


def loops(model, images, fuse, layers, reduce, refine):
    """Patch by patch and class by class; two images of 3x5 patches, 5 classes."""
    with torch.no_grad(), capture(model.backbone, images) as trace:
        logits = model.cam_logits(trace.tokens)
    first, maps = trace.num_prefix, torch.zeros(2, 5, 15, dtype=torch.float64)
    for n in range(2):
        for c in range(5):
            for i in range(15):
                parts = [a[n, :, c, first + i].mean() for a in trace.attn[-layers:]]
                attn = sum(parts) / (len(parts) if reduce == 'mean' else 1)
                cam = max(logits[n, c, i // 5, i % 5], torch.tensor(0.0))
                value = dict(product=attn * cam, mct=attn, patchcam=cam)
                maps[n, c, i] = value.get(fuse, (attn * cam) ** 0.5)
    if not refine:
        return maps.reshape(2, 5, 3, 5)
    spread = torch.zeros_like(maps)
    for a in trace.attn:
        for i in range(15):
            for j in range(15):
                share = a[:, :, first + i, first + j].mean(1)
                spread[:, :, i] += share[:, None] * maps[:, :, j]
    return spread.reshape(2, 5, 3, 5)


@pytest.mark.parametrize('prefix', [1, 2])
@pytest.mark.parametrize(
    ('fuse', 'layers', 'reduce', 'refine'),
    [
        ('product', 2, 'sum', True),
        ('sqrt', 3, 'mean', True),
        ('mct', 1, 'sum', False),
        ('patchcam', 2, 'mean', True),
    ],
)
def test_equals_loops(
    fuse, layers, reduce, refine, prefix, images, tiny_mctformer
) -> None:
    model = tiny_mctformer(prefix=prefix).double().eval()
    found = MCTformerMap(fuse, layers, reduce, refine)(model, images, LABELS)
    expected = loops(model, images, fuse, layers, reduce, refine)
    expected = expected * LABELS[..., None, None]
    assert expected.max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def permuted(model, order):
    """The same network with its classes in another order."""
    vit, conv = model.backbone.vit, model.head.conv
    with torch.no_grad():
        vit.cls_token.copy_(vit.cls_token[:, order])
        vit.pos_embed[:, :5] = vit.pos_embed[:, :5][:, order]
        conv.weight.copy_(conv.weight[order])
        conv.bias.copy_(conv.bias[order])
    return model


FOLLOW = [
    name
    for name in plugin_names(SEED_HEADS)
    if SEED_HEADS.get(name).follows_class_tokens
    or name in ('GenericAttentionRelevance', 'LeGrad', 'GradCAM', 'CAM')
]


@pytest.mark.parametrize('prefix', [1, 2])
@pytest.mark.parametrize('name', FOLLOW)
def test_maps_follow_their_class(name, prefix, images, tiny_mctformer) -> None:
    """Tokens in another order give the same maps in that order: no row is the first's."""
    head = build_as(SEED_HEADS, dict(type=name), SeedHead)
    model = tiny_mctformer(prefix=prefix).double().eval()
    ones, order = torch.ones(2, 5), torch.tensor([3, 0, 4, 1, 2])
    before = head.signed_maps(model, images, ones)
    after = head.signed_maps(permuted(model, order), images, ones)
    torch.testing.assert_close(after, before[:, order], rtol=1e-8, atol=1e-12)
    gaps = (before[:, :, None] - before[:, None]).abs().amax((-1, -2))
    off = ~torch.eye(5, dtype=torch.bool)
    least = 1e-6 * before.abs().max()
    assert (gaps[:, off] > least).all(), 'each class has a map of its own'


def test_there_are_heads_that_follow() -> None:
    wanted = (MCTformerMap, AttentionGradCAM, AttentionRollout, RawAttention)
    names = {cls.__name__ for cls in (*wanted, GenericAttentionRelevance)}
    assert names <= set(FOLLOW)


@pytest.mark.parametrize('name', plugin_names(SEED_HEADS))
def test_every_head_follows_or_says_that_it_does_not(
    name, images, tiny_mctformer
) -> None:
    head = build_as(SEED_HEADS, dict(type=name), SeedHead)
    model = tiny_mctformer().double().eval()
    try:
        maps = head(model, images, LABELS)
    except UserError as error:
        assert name in str(error) and '\n' not in str(error)
    else:
        assert maps.isfinite().all() and (maps[LABELS == 1] > 0).any()


def test_what_is_refused(images, tiny_mctformer, tiny_classifier) -> None:
    with pytest.raises(
        UserError, match='a token for each of 5 classes, and TimmViT has'
    ):
        MCTformerMap()(tiny_classifier().double(), images, LABELS)
    first = tiny_mctformer(sources=('class',)).double()
    with pytest.raises(UserError, match="V1, does not have: set fuse='mct'"):
        MCTformerMap()(first, images, LABELS)
    assert (MCTformerMap('mct')(first, images, LABELS)[LABELS == 1] > 0).all()
    with pytest.raises(UserError, match='layers=4 of the 3 blocks'):
        MCTformerMap('mct', layers=4)(first, images, LABELS)
    for wrong, message in (
        (dict(fuse='fused'), "fuse must be one of .* not 'fused'"),
        (dict(reduce='max'), "not 'max' and 3"),
        (dict(layers=0), "not 'sum' and 0"),
    ):
        with pytest.raises(UserError, match=message):
            MCTformerMap(**wrong)


def test_of_a_plain_transformer_nothing_has_changed(images) -> None:
    """One class token: the same row for all classes, as ever."""
    backbone = TimmViT(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
    head = dict(type='TokenHead', num_classes=5)
    model = WSSSClassifier(backbone=backbone, head=head).double().eval()
    with capture(backbone, images) as trace:
        row = trace.attn[-1].mean(1)[:, 0, 1:].reshape(2, 1, 3, 5)
    expected = row * LABELS[..., None, None]
    torch.testing.assert_close(RawAttention()(model, images, LABELS), expected)
