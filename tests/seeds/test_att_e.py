"""The class maps of eX-ViT by their equations, and which methods may explain it."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import capture
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.registry import SEED_HEADS, build_as, plugin_names
from wsss_plugins.seeds import AttributeCAM, GenericAttentionRelevance, SeedHead

LABELS = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0]])
EXPLAINS_PATCHES = {
    'AffinityRefined',
    'AttributeCAM',
    'CAM',
    'GenericAttentionRelevance',
    'InputXGradient',
    'IntegratedGradients',
    'LeGrad',
    'TSCAM',
}
"""The methods that say something of a model whose logits come from patch tokens."""


@pytest.fixture
def model(tiny_ex_vit):
    return tiny_ex_vit().double().eval()


@pytest.fixture
def images():
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


def by_the_paper(model, images, blocks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Eqs. 9 to 11 and the classification layer, place by place: ``(N, S, C, h, w)``."""
    with torch.no_grad(), capture(model.backbone, images) as trace:
        tokens = trace.tokens
        made = model.head.attributes(tokens)  # G of eq. 9
        last = [model.backbone.vit.norm(h) for h in trace.hidden[-blocks:]]
    mean = sum(last) / blocks  # eq. 10
    fused = mean[:, trace.num_prefix :].transpose(1, 2).unflatten(2, trace.grid)
    many, count, width, height, length = made.shape
    weight = model.head.fc.weight.detach().reshape(-1, count, width)
    parts = torch.zeros(many, count, len(weight), height, length, dtype=torch.float64)
    for s in range(count):
        features = fused * made[:, s]  # M of eq. 11
        for c in range(len(weight)):
            parts[:, s, c] = (features * weight[c, s][:, None, None]).sum(1)
    return parts, model.head.fc.bias.detach()


def present(maps: torch.Tensor) -> torch.Tensor:
    return maps * LABELS[:, :, None, None]


@pytest.mark.parametrize(('given', 'blocks'), [(None, 2), (1, 1), (2, 2), (3, 3)])
def test_maps_are_the_classification_layer_on_every_patch(
    model, images, given, blocks
) -> None:
    parts, bias = by_the_paper(model, images, blocks)
    maps = AttributeCAM(fuse_blocks=given).signed_maps(model, images, LABELS)
    torch.testing.assert_close(maps, present(parts.sum(1) + bias[:, None, None]))
    found = AttributeCAM(fuse_blocks=given)(model, images, LABELS)
    torch.testing.assert_close(found, maps.clamp(min=0))


def test_attributes_add_up(model, images) -> None:
    parts, bias = by_the_paper(model, images, 2)
    heads = [AttributeCAM(attribute=i) for i in range(4)]
    maps = [head.signed_maps(model, images, LABELS) for head in heads]
    for i in range(4):
        torch.testing.assert_close(maps[i], present(parts[:, i]))
        assert maps[i].abs().max() > 0
    whole = AttributeCAM().signed_maps(model, images, LABELS)
    torch.testing.assert_close(sum(maps) + present(bias[None, :, None, None]), whole)


def test_fused_blocks_of_one_attribute(model, images) -> None:
    parts, _ = by_the_paper(model, images, 3)
    head = AttributeCAM(fuse_blocks=3, attribute=1)
    maps = head.signed_maps(model, images, LABELS)
    torch.testing.assert_close(maps, present(parts[:, 1]))


@pytest.mark.parametrize('classify', ['attributes', 'tokens'])
def test_where_the_patch_tokens_are_the_fused_ones(
    tiny_ex_vit, images, classify
) -> None:
    """Another K at test time is what a model with that K would show."""
    model = tiny_ex_vit(patch='fused', classify=classify).double()
    maps = AttributeCAM(fuse_blocks=3)(model, images, LABELS)
    before = AttributeCAM()(model, images, LABELS)
    model.backbone.fuse_blocks = 3
    torch.testing.assert_close(maps, AttributeCAM()(model, images, LABELS))
    assert (maps - before).abs().max() > 1e-3


def test_floor(model, images) -> None:
    model.head.fc.bias.data -= 100
    assert (AttributeCAM()(model, images, LABELS) == 0).all()
    maps = AttributeCAM(floor='minimum')(model, images, LABELS)
    assert maps[0, 2].min() == 0 and maps[0, 2].max() > 0


def test_models_and_arguments_that_do_not_fit(
    model, images, tiny_classifier, tiny_ex_vit
) -> None:
    def refused(other, kind=UserError, **arguments) -> str:
        with pytest.raises(kind) as error:
            AttributeCAM(**arguments)(other.double(), images, LABELS)
        assert '\n' not in str(error.value)
        return str(error.value)

    assert refused(tiny_classifier()) == (
        'AttributeCAM shows the attributes of an AttributeHead, and the head is a '
        'TokenHead: train an eX-ViT (configs/exvit), or take CAM'
    )
    text = refused(model, ConfigError, attribute=4)
    assert text == 'there is no attribute 4: the model has 0 to 3'
    assert 'give 1 to 3' in refused(model, ConfigError, fuse_blocks=4)
    plain = tiny_ex_vit(classify='tokens')
    assert 'fuse_blocks=2 changes nothing' in refused(plain, fuse_blocks=2)
    assert "train with classify='attributes'" in refused(plain, attribute=0)
    plain.head.classify, plain.backbone = 'attributes', tiny_classifier().backbone
    assert 'of this TimmViT' in refused(plain, fuse_blocks=2)


@pytest.mark.parametrize('key', ['fuse_blocks', 'attribute'])
def test_numbers_out_of_range(key) -> None:
    with pytest.raises(ConfigError, match=f'{key} must be'):
        AttributeCAM(**{key: -1})


@pytest.mark.parametrize('name', plugin_names(SEED_HEADS))
def test_a_method_says_something_of_the_model_or_refuses(name, model, images) -> None:
    head = build_as(SEED_HEADS, dict(type=name), SeedHead)
    if name in EXPLAINS_PATCHES:
        maps = head(model, images, LABELS)
        assert maps.isfinite().all() and (maps[LABELS == 1].amax((1, 2)) > 0).any()
        return
    for ask in (
        lambda: head(model, images, LABELS),
        lambda: head.maps_of(model, images, torch.zeros(1, 2, dtype=torch.long)),
    ):
        with pytest.raises(UserError) as error:
            ask()
        text = str(error.value)
        assert '\n' not in text and ('take ' in text or 'use ' in text)


def test_generic_relevance_starts_from_the_patches_that_are_read(model, images) -> None:
    """The mean of the patch rows of the whole product, matrix by matrix."""
    labels = torch.tensor([[0, 0, 1, 0, 0]] * 2)
    found = GenericAttentionRelevance()(model, images, labels)[:, 2]
    with torch.enable_grad(), capture(model.backbone, images, gradients=True) as trace:
        logits = model.class_logits(trace.tokens)[:, 2]
        gradients = torch.autograd.grad(logits.sum(), trace.attn)
    length = trace.attn[0].shape[-1]
    product = torch.eye(length, dtype=torch.float64).repeat(2, 1, 1)
    for gradient, attn in zip(gradients, trace.attn, strict=True):
        block = (gradient * attn.detach()).clamp(min=0).mean(1)
        product = product + block @ product
    first = trace.num_prefix
    more = product - torch.eye(length, dtype=torch.float64)
    expected = more[:, first:, first:].mean(1).unflatten(1, trace.grid)
    torch.testing.assert_close(found, expected)
    row = product[:, 0, first:].unflatten(1, trace.grid)
    assert (found - row).abs().max() > 0.1 * row.max(), "the class token's is another"


def test_rollout_refuses_signed_attention(tiny_ex_vit, tiny_classifier, images) -> None:
    model = tiny_classifier().double()
    model.backbone = tiny_ex_vit().double().backbone
    with pytest.raises(UserError, match='the attention of ExViT is negative in places'):
        build_as(SEED_HEADS, dict(type='AttentionRollout'), SeedHead)(
            model, images, LABELS
        )
