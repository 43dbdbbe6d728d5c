"""Activation checkpointing: the same numbers from less memory."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import GroupNormAct, StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import nn

from wsss_plugins.backbones import ExViT, MultiClassTokenViT, TimmViT, capture
from wsss_plugins.backbones.recompute import run_stem_and_forget
from wsss_plugins.seeds import ACRGradientMap

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
RANDOM = dict(attn_drop_rate=0.2, proj_drop_rate=0.1, drop_path_rate=0.3)


def small_hybrid(**kwargs) -> TimmViT:
    cnn = ResNetV2(
        layers=(1, 1, 1),
        channels=(16, 16, 16),
        stem_chs=16,
        num_classes=0,
        global_pool='',
        preact=False,
        stem_type='same',
        conv_layer=StdConv2dSame,
        norm_layer=lambda *a, **k: GroupNormAct(*a, num_groups=4, **k),
    )
    arch = dict(SMALL, patch_size=1)
    vit = VisionTransformer(
        num_classes=0,
        embed_layer=lambda **k: HybridEmbed(cnn, **k),
        **arch,
    )
    return TimmViT(vit, **kwargs)


BACKBONES = {
    'vit': lambda **k: TimmViT(**SMALL, **RANDOM, **k),
    'ex_vit': lambda **k: ExViT(**SMALL, **RANDOM, fuse_blocks=2, bias='matrix', **k),
    'mct': lambda **k: MultiClassTokenViT(num_classes=4, **SMALL, **RANDOM, **k),
    'hybrid': small_hybrid,
}


def pair(build) -> tuple[TimmViT, TimmViT]:
    """The same network without and with checkpointing, in training mode."""
    plain = build().double().train()
    forgetful = copy.deepcopy(plain)
    forgetful.checkpoint = True
    assert build(checkpoint=True).checkpoint
    return plain, forgetful


def two_views(backbone, images, keep=None, **kwargs):
    """A loss as ACR's, of both views, their attention and their tokens."""
    torch.manual_seed(3)
    seen = []
    for view in (images, images.flip(-1)):
        with capture(backbone, view, keep, **kwargs) as trace:
            seen.append((trace.head_mean(), trace.tokens))
    (one, tokens), (two, others) = seen
    return (
        (one - two).abs().mean()
        + tokens.prefix.square().mean()
        + (others.patch * tokens.patch).mean()
    )


@pytest.mark.parametrize('dropped', [False, True], ids=['all', 'dropped'])
@pytest.mark.parametrize('name', BACKBONES)
def test_values_and_gradients_are_equal(name, dropped) -> None:
    plain, forgetful = pair(BACKBONES[name])
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    many = plain.grid(images)[0] * plain.grid(images)[1]
    keep = None
    if dropped:
        keep = torch.stack([torch.randperm(many)[: many // 2] for _ in range(2)])
    expected = two_views(plain, images, keep)
    expected.backward()
    for heads in (False, True, [1]):
        forgetful.zero_grad()
        found = two_views(forgetful, images, keep, heads=heads)
        found.backward()
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
        for (key, p), q in zip(
            plain.named_parameters(), forgetful.parameters(), strict=True
        ):
            assert (p.grad is None) == (q.grad is None), key
            if p.grad is not None:
                torch.testing.assert_close(q.grad, p.grad, rtol=1e-9, atol=1e-13)
    assert all(block.attn.fused_attn for block in forgetful.vit.blocks)


def test_without_capture_the_repetition_is_fused(monkeypatch) -> None:
    _, forgetful = pair(BACKBONES['vit'])
    fused = []
    block = forgetful.vit.blocks[1]
    block.attn.register_forward_pre_hook(lambda m, _: fused.append(m.fused_attn))
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    forgetful(images).patch.sum().backward()
    assert fused == [True, True]
    with capture(forgetful, images, heads=False) as trace:
        loss = trace.head_mean().square().sum()
    loss.backward()
    assert fused == [True, True, False, False]


def kept_megabytes(backbone, images, **kwargs) -> float:
    """What autograd keeps between forward and backward, counted once per storage."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {p.untyped_storage().data_ptr() for p in backbone.parameters()}
    watch = torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t)
    with watch, capture(backbone, images, **kwargs) as trace:
        loss = trace.head_mean().sum() + trace.tokens.patch.sum()
    total = sum(size for place, size in kept.items() if place not in own)
    assert loss.requires_grad
    return total / 1e6


def test_attention_of_the_heads_is_not_kept() -> None:
    plain, forgetful = pair(lambda **k: TimmViT(**SMALL, **k))
    images = torch.randn(1, 3, 128, 128, dtype=torch.float64)  # 257 tokens
    matrices = 3 * 3 * 257**2 * 8 / 1e6  # blocks, heads
    assert kept_megabytes(plain, images, heads=False) > matrices
    assert kept_megabytes(forgetful, images, heads=False) < matrices / 4  # images, too


def test_only_in_training_with_gradients(monkeypatch) -> None:
    _, forgetful = pair(BACKBONES['vit'])

    def fail(*_, **__):
        raise AssertionError('checkpointed')

    monkeypatch.setattr('wsss_plugins.backbones.timm_vit.run_and_forget', fail)
    monkeypatch.setattr('wsss_plugins.backbones.timm_vit.run_stem_and_forget', fail)
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        forgetful(images)
    forgetful.eval()(images)
    with pytest.raises(AssertionError, match='checkpointed'):
        forgetful.train()(images)


@pytest.mark.parametrize('prefix', [1, 2])
def test_maps_of_a_model_in_training_mode(tiny_classifier, prefix) -> None:
    model = tiny_classifier(prefix=prefix).double()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)
    labels = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
    expected = ACRGradientMap()(model, images, labels)
    model.backbone.checkpoint = True
    torch.testing.assert_close(
        ACRGradientMap()(model.train(), images, labels), expected
    )
    assert model.training


class Counting(nn.Module):
    """A stem with a CNN that counts how often it runs."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), norm)
        self.runs = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return self.backbone(x)


def test_stem_is_repeated_unless_it_counts_batches() -> None:
    images = torch.randn(2, 3, 8, 8)
    group, batch = Counting(nn.GroupNorm(2, 4)), Counting(nn.BatchNorm2d(4))
    for stem in (group, batch):
        run_stem_and_forget(stem, images).square().sum().backward()
    assert (group.runs, batch.runs) == (2, 1)
    assert batch.backbone[1].num_batches_tracked == 1
    plain = nn.Conv2d(3, 4, 8)  # no CNN: cheap, and kept
    assert run_stem_and_forget(plain, images).requires_grad


@pytest.mark.parametrize('drop_patches', [0.0, 0.5])
def test_a_step_of_acr_under_distributed_training(
    tiny_classifier, tmp_path, drop_patches
) -> None:
    """Every gradient is ready once and is that of the plain run."""
    plain = tiny_classifier(acr=True, drop_patches=drop_patches).double().train()
    forgetful = copy.deepcopy(plain)
    forgetful.backbone.checkpoint = True
    images = torch.randn(2, 3, 32, 48, dtype=torch.float64)
    labels = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]], dtype=torch.float64)

    def step(model: nn.Module, inner: nn.Module) -> list[torch.Tensor]:
        torch.manual_seed(5)
        sum(model(images, labels).values()).backward()
        return [p.grad for p in inner.parameters() if p.grad is not None]

    class Loss(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images, labels):
            return self.model.loss(images, labels)

    expected = step(Loss(plain), plain)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(Loss(forgetful))
        found = step(wrapped, forgetful)
    finally:
        torch.distributed.destroy_process_group()
    assert len(found) == len(expected) > 10
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)
