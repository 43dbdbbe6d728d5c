"""Laws that every rule keeps, on random layers of both signs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsss_plugins.lrp import (
    Add,
    AlphaBeta,
    AttentionValue,
    BatchNormRatio,
    ConservingSum,
    Epsilon,
    Fork,
    Gamma,
    Identity,
    LatentKey,
    Mean,
    QueryKey,
    Ratio,
    Select,
    Softmax,
    SoftmaxTaylor,
    ToLast,
    ZBox,
)

LINEAR = nn.Linear(40, 4, bias=False).double()  # wide: both signs occur
CONV = nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=False).double()
TOKENS, OTHER = (3, 5, 40), (3, 5, 40)
IMAGE = (3, 3, 8, 10)

CONSERVING = {
    'alpha1-linear': (AlphaBeta(), LINEAR, [TOKENS]),
    'alpha2-linear': (AlphaBeta(2.0), LINEAR, [TOKENS]),
    'alpha1-conv': (AlphaBeta(), CONV, [IMAGE]),
    'epsilon-linear': (Epsilon(epsilon=1e-12), LINEAR, [TOKENS]),
    'epsilon-conv': (Epsilon(epsilon=1e-12), CONV, [IMAGE]),
    'gamma-linear': (Gamma(0.3, 1e-12), LINEAR, [TOKENS]),
    'gamma-conv': (Gamma(0.3, 1e-12), CONV, [IMAGE]),
    'zbox': (ZBox(), CONV, [IMAGE]),
    'identity': (Identity(), nn.GELU(), [TOKENS]),
    'ratio-sum': (Ratio(), Add(), [TOKENS, OTHER]),
    'conserving-sum': (ConservingSum(), Add(), [TOKENS, OTHER]),
    'ratio-query-key': (Ratio(0.5), QueryKey(), [TOKENS, OTHER]),
    'epsilon-query-key': (Epsilon(0.5, 1e-12), QueryKey(), [TOKENS, OTHER]),
    'values': (Ratio(0.5), AttentionValue(), [(3, 5, 5), TOKENS]),
    'values-only': (
        ToLast(Epsilon(epsilon=1e-12)),
        AttentionValue(),
        [(3, 5, 5), TOKENS],
    ),
    'latent-key': (ToLast(Ratio()), LatentKey(), [(3, 1, 40), TOKENS]),
    'mean': (Ratio(), Mean(), [TOKENS]),
    'epsilon-mean': (Epsilon(epsilon=1e-12), Mean(), [TOKENS]),
    'fork': (Ratio(), Fork(), [TOKENS]),
    'select': (Ratio(), Select(2), [TOKENS]),
    'batch-norm': (BatchNormRatio(), nn.BatchNorm2d(3).double().eval(), [IMAGE]),
    'max-pool': (Ratio(), nn.MaxPool2d(2), [IMAGE]),
}


@pytest.fixture(params=CONSERVING)
def case(request):
    """A rule, its layer, inputs, and relevance of the outputs."""
    rule, layer, shapes = CONSERVING[request.param]
    inputs = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    found = layer(*inputs)
    outputs = found if isinstance(found, tuple) else (found,)
    return rule, layer, inputs, [torch.rand_like(z.detach()) for z in outputs]


def total(tensors):
    """Sum over each sample, ``(N,)``."""
    return sum(t.flatten(1).sum(1) for t in tensors if t is not None)


def test_relevance_in_is_relevance_out(case):
    rule, layer, inputs, relevance = case
    shared = rule(layer, *inputs)(*relevance)
    assert len(shared) == len(inputs)
    expected = total(relevance)
    torch.testing.assert_close(total(shared).detach(), expected, rtol=1e-5, atol=1e-7)


def test_batch_equals_one_by_one(case):
    rule, layer, inputs, relevance = case
    together = rule(layer, *inputs)(*relevance)
    for n in range(3):
        one = slice(n, n + 1)
        alone = rule(layer, *[x[one] for x in inputs])(*[r[one] for r in relevance])
        for a, b in zip(together, alone, strict=True):
            if a is not None:
                torch.testing.assert_close(a[one], b, rtol=1e-9, atol=1e-9)


def test_linear_in_the_relevance(case):
    """Except sums, whose renormalisation takes absolute values, rules are linear."""
    rule, layer, inputs, relevance = case
    if isinstance(rule, ConservingSum):
        pytest.skip('renormalises')
    share = rule(layer, *inputs)
    once, twice = share(*relevance), share(*[2 * r for r in relevance])
    for a, b in zip(once, twice, strict=True):
        if a is not None:
            torch.testing.assert_close(2 * a, b)


def test_separate_denominators_double_relevance():
    x = torch.randn(2, 3, 40, dtype=torch.float64)
    relevance = torch.rand(2, 3, 4, dtype=torch.float64)
    (shared,) = AlphaBeta(joint=False)(LINEAR, x)(relevance)
    torch.testing.assert_close(
        total([shared]), 2 * total([relevance]), rtol=1e-6, atol=0
    )


def test_alpha_beta_by_hand():
    """Two inputs, one output: 3 and -1 are the contributions."""
    layer = nn.Linear(2, 1, bias=False).double()
    layer.weight.data = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    x, relevance = torch.ones(1, 2).double(), torch.ones(1, 1).double()
    for alpha, expected in ((1.0, [1.0, 0.0]), (2.0, [2.0, -1.0])):
        (shared,) = AlphaBeta(alpha)(layer, x)(relevance)
        torch.testing.assert_close(shared, torch.tensor([expected]).double())
    (shared,) = Epsilon(epsilon=1e-12)(layer, x)(relevance)
    torch.testing.assert_close(shared, torch.tensor([[1.5, -0.5]]).double())
    (shared,) = Gamma(1.0, 1e-12)(layer, x)(relevance)  # 3 counts twice: 6 - 1
    torch.testing.assert_close(shared, torch.tensor([[6 / 5, -1 / 5]]).double())


def test_gamma_zero_is_epsilon_and_takes_the_bias_into_account():
    layer = nn.Linear(6, 4).double()
    x = torch.randn(2, 6, dtype=torch.float64)
    relevance = torch.rand(2, 4, dtype=torch.float64)
    gamma, epsilon = Gamma(0.0, 1e-9), Epsilon(epsilon=1e-9)
    torch.testing.assert_close(gamma(layer, x)(relevance), epsilon(layer, x)(relevance))
    # The bias is in the output that relevance is divided by, and takes its share of it.
    share = relevance / (x @ layer.weight.T + layer.bias)
    (shared,) = epsilon(layer, x)(relevance)
    torch.testing.assert_close(shared, x * (share @ layer.weight))
    lost = (share * layer.bias).sum()
    torch.testing.assert_close(relevance.sum() - shared.sum(), lost)
    assert lost.abs() > 1e-3


def test_gamma_grows_towards_the_sign_of_the_output():
    """A huge gamma leaves alpha-beta with alpha 1 where the output is positive."""
    layer = nn.Linear(6, 1, bias=False).double()
    x = torch.randn(1, 6, dtype=torch.float64)
    x = x * layer(x).sign()
    relevance = torch.ones(1, 1, dtype=torch.float64)
    (gamma,) = Gamma(1e9, 1e-12)(layer, x)(relevance)
    (alpha,) = AlphaBeta()(layer, x)(relevance)
    torch.testing.assert_close(gamma, alpha, rtol=1e-6, atol=1e-8)


def test_softmax_taylor_is_input_times_gradient():
    """x_i sum_j (ds_j / dx_i) R_j / s_j, the first-order term, times s."""
    softmax = Softmax(0.5)
    products = torch.randn(2, 4, 4, dtype=torch.float64)
    relevance = torch.rand(2, 4, 4, dtype=torch.float64)
    (shared,) = SoftmaxTaylor()(softmax, products)(relevance)
    x = (products * 0.5).requires_grad_()
    s = x.softmax(-1)
    (gradient,) = torch.autograd.grad(s, x, relevance / s.detach())
    torch.testing.assert_close(shared, (x * gradient).detach())
