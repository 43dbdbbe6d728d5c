"""The `with` that applies rules: what it touches, and that nothing of it stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsss_plugins.backbones import TimmViT, capture_relevance
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.lrp import COMPOSITES, Composite, Epsilon, Identity, composite


@pytest.fixture
def network():
    layers = nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 3)
    return nn.Sequential(*layers).double().eval()


def touched(model):
    return [type(m).__name__ for m in model.modules() if 'forward' in vars(m)]


def test_output_is_unchanged_and_backward_carries_relevance(network):
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    before = network(x).detach()
    with composite('epsilon')(network):
        scores = network(x)
    torch.testing.assert_close(scores.detach(), before)
    (relevance,) = torch.autograd.grad(scores[:, 1].sum(), x, retain_graph=True)
    (gradient,) = torch.autograd.grad(network(x)[:, 1].sum(), x)
    assert not torch.allclose(relevance, gradient)
    assert all(p.grad is None for p in network.parameters())


def test_epsilon_without_biases_is_input_times_gradient(network):
    """A classical identity: for ReLU networks without bias both are the same."""
    for layer in (network[0], network[3]):
        layer.bias.data.zero_()
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    rules = {**COMPOSITES['epsilon'].rules, nn.Linear: Epsilon(epsilon=1e-15)}
    with Composite(rules)(network):
        scores = network(x)
    start = torch.zeros_like(scores)
    start[:, 2] = scores[:, 2].detach()
    (relevance,) = torch.autograd.grad(scores, x, start)
    (gradient,) = torch.autograd.grad(network(x)[:, 2].sum(), x)
    torch.testing.assert_close(relevance, (x * gradient).detach())


def test_undone_on_exit_and_after_an_exception(network):
    with composite('chefer')(network):
        assert touched(network) == ['Linear', 'ReLU', 'Dropout', 'Linear']
        assert not network[1].inplace
    assert touched(network) == [] and network[1].inplace
    with pytest.raises(RuntimeError, match='on purpose'), composite('chefer')(network):
        raise RuntimeError('on purpose')
    assert touched(network) == [] and network[1].inplace


def test_only_the_given_instance(network):
    other = nn.Linear(6, 8)
    with composite('chefer')(network):
        assert 'forward' not in vars(other)
        assert nn.Linear.forward is type(other).forward


def test_nested_composites_are_undone_in_order(network):
    x = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    with composite('epsilon')(network):
        with composite('chefer')(network):
            pass
        scores = network(x)
    assert touched(network) == []
    assert torch.autograd.grad(scores.sum(), x)[0].isfinite().all()


def test_type_without_rule_is_refused_and_leaves_nothing(network):
    network.append(nn.Tanh())
    with (
        pytest.raises(ConfigError, match='no rule for layers of type Tanh'),
        composite('chefer')(network),
    ):
        pass
    assert touched(network) == []
    rules = {**COMPOSITES['chefer'].rules, nn.Tanh: Identity()}
    with Composite(rules)(network):
        assert 'Tanh' in touched(network)


def test_subclass_gets_its_parents_rule():
    class Mine(nn.Linear):
        pass

    rule = COMPOSITES['chefer'].rule_of(Mine(2, 2))
    assert rule is COMPOSITES['chefer'].rules[nn.Linear]


def test_unknown_name_lists_near_ones():
    with pytest.raises(ConfigError, match=r"no composite is called 'chefr'.*chefer"):
        composite('chefr')


SIZES = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)


@pytest.mark.parametrize('stem', ['patch', 'conv'])
@pytest.mark.parametrize('name', COMPOSITES)
def test_every_composite_reaches_the_pixels(name, stem):
    """On a non-square image, one by one as in a batch, whatever the stem."""
    backbone = TimmViT(stem=stem, **SIZES).double().eval()
    images = torch.randn(2, 3, 24, 40, dtype=torch.float64)

    def relevance(batch):
        with capture_relevance(backbone, batch, COMPOSITES[name]) as trace:
            start = torch.ones_like(trace.tokens.prefix)
            outputs = trace.tokens.prefix
            return torch.autograd.grad(outputs, trace.images, start)[0]

    together = relevance(images)
    assert together.isfinite().all() and together.abs().sum() > 0
    for n in range(2):
        torch.testing.assert_close(
            relevance(images[n : n + 1])[0], together[n], rtol=1e-6, atol=1e-8
        )


def test_conservation_through_the_network():
    """Chefer's rules conserve relevance from the class token to the first block."""
    backbone = TimmViT(**SIZES).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    rules = COMPOSITES['chefer']
    inputs = []
    view = backbone.explicit(0)
    view.blocks[0].register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    with rules(view):
        tokens, _ = view(images)
    start = torch.zeros_like(tokens.prefix)
    start[..., 5] = 1
    (relevance,) = torch.autograd.grad(tokens.prefix, inputs, start)
    sums = relevance.sum((1, 2))
    torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-5)


def test_hybrid_stem_is_refused_for_pixels():
    backbone = TimmViT('vit_tiny_r_s16_p8_224')
    with (
        pytest.raises(UserError, match='does not pass the CNN of a hybrid'),
        capture_relevance(backbone, torch.zeros(1, 3, 224, 224), COMPOSITES['chefer']),
    ):
        pass


def test_block_out_of_range():
    with pytest.raises(ConfigError, match=r'blocks 0 to 2 \(or -3 to -1\), not 3'):
        TimmViT(**SIZES).explicit(3)
