"""ACRGradientMap: against its formula class by class, and what its one forward computes."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import MultiClassTokenViT, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.seeds import ACRGradientMap, AffinityRefined
from wsss_plugins.seeds.acr import CLAMPS, VARIANTS

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


@pytest.fixture(params=[1, 2, 5], ids=['one', 'two-prefix', 'a-token-per-class'])
def model(request, tiny_classifier) -> WSSSClassifier:
    if request.param < 5:
        return tiny_classifier(prefix=request.param).double()
    arch = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
    head = dict(type='MCTHead', num_classes=5)
    return WSSSClassifier(MultiClassTokenViT(num_classes=5, **arch), head).double()


def by_definition(model, image, index, start, variant, clamp, blocks):
    """Eqs. 7 and 8 for one class of one image, from a graph of its own."""
    model.eval()
    with capture(model.backbone, image[None], gradients=True) as trace:
        score = model.class_logits(trace.tokens)[0, index]
        gradients = torch.autograd.grad(score, trace.attn)
    token = index if model.backbone.num_class_tokens > 1 else 0
    first, total = trace.num_prefix, 0
    for block in range(start % 3, 3):
        gradient = gradients[block][0, :, token, first:]
        couple = gradient * trace.attn[block][0, :, token, first:]
        means = []
        for values in (gradient, couple):
            heads = values.relu() if clamp == 'before' else values
            means.append((sum(heads) / len(heads)).relu())
        grad, cam = means
        total = (
            total
            + {
                'grad': grad,
                'grad_s': grad**2,
                'cam_grad': cam,
                'cam_grad_s': cam * grad,
            }[variant]
        )
    if blocks is not None:
        affinity = sum(trace.attn[b][0, :, first:, first:].mean(0) for b in blocks)
        total = affinity @ total
    return total.detach().reshape(trace.grid)


@pytest.mark.parametrize('clamp', CLAMPS)
@pytest.mark.parametrize('variant', VARIANTS)
def test_formula(model, images, variant, clamp) -> None:
    for start, blocks in ((0, None), (-2, [0, 1, 2]), (-1, [-3, 1]), (1, [2])):
        head = ACRGradientMap(start, variant, blocks is not None, clamp, blocks)
        maps = head(model, images, LABELS)
        for n, index in ((0, 0), (0, 2), (1, 3)):
            wanted = by_definition(
                model, images[n], index, start, variant, clamp, blocks
            )
            torch.testing.assert_close(maps[n, index], wanted, rtol=1e-9, atol=1e-13)
            assert wanted.max() > 0


def test_clamps_differ(model, images) -> None:
    before, after = (ACRGradientMap(clamp=clamp) for clamp in CLAMPS)
    first, second = before(model, images, LABELS), after(model, images, LABELS)
    assert (first >= second - 1e-15).all() and (first > second + 1e-12).any()


def test_all_blocks_are_the_default_affinity(model, images) -> None:
    named = ACRGradientMap(affinity_blocks=range(3))(model, images, LABELS)
    torch.testing.assert_close(ACRGradientMap()(model, images, LABELS), named)


def test_refined_by_another_head(model, images) -> None:
    """The head that spreads any maps does to these what the option does."""
    other = AffinityRefined(ACRGradientMap(affinity=False))(model, images, LABELS)
    torch.testing.assert_close(ACRGradientMap()(model, images, LABELS), other)


@pytest.mark.parametrize(
    'options, fused',
    [
        (dict(), [False, False, False]),
        (dict(affinity=False), [True, False, False]),
        (dict(start_block=-1, affinity=False), [True, True, False]),
        (dict(start_block=-1, affinity_blocks=[0]), [False, True, False]),
    ],
)
def test_one_forward_that_unfuses_what_is_read(model, images, options, fused) -> None:
    """For two images of up to two classes; the graph begins at the first block read."""
    ran = []
    for block in model.backbone.vit.blocks:
        block.register_forward_pre_hook(
            lambda m, _: ran.append((m.attn.fused_attn, torch.is_grad_enabled()))
        )
    head = ACRGradientMap(**options)
    head(model, images, LABELS)
    start = head.start_block % 3
    assert [f for f, _ in ran] == fused
    with head.look(model.eval(), images) as trace:
        graph = [h.requires_grad for h in trace.hidden]
        heads = {b: a.shape[1] for b, a in zip(trace.blocks, trace.attn, strict=True)}
    assert graph == [b >= start for b in range(3)]
    assert heads == {b: 3 if b >= start else 1 for b in range(3) if not fused[b]}


def test_a_model_whose_weights_are_frozen(model, images) -> None:
    expected = ACRGradientMap()(model, images, LABELS)
    found = ACRGradientMap()(model.requires_grad_(False), images, LABELS)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(clamp='never'), "clamp must be one of ('before', 'after'), not 'never'"),
        (
            dict(affinity_blocks=[]),
            'affinity_blocks names no block: give some, None for all, or affinity=False',
        ),
        (
            dict(variant='sum'),
            "variant must be one of ('grad', 'grad_s', 'cam_grad', 'cam_grad_s'), not "
            "'sum'",
        ),
    ],
)
def test_wrong_options(options, message) -> None:
    with pytest.raises(ConfigError) as error:
        ACRGradientMap(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    'options', [dict(start_block=3), dict(affinity_blocks=[0, -4])]
)
def test_blocks_that_are_not_there(model, images, options) -> None:
    with pytest.raises(ConfigError, match=r'blocks 0 to 2 \(or -3 to -1\), not'):
        ACRGradientMap(**options)(model, images, LABELS)
