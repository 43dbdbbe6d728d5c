"""AttE and its head against the equations of eX-ViT, place by place."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from wsss_plugins.backbones import Tokens
from wsss_plugins.classifiers import (
    AttributeExplainer,
    AttributeHead,
    WSSSClassifier,
    pool_top,
)
from wsss_plugins.classifiers.atte import MEETS
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.losses import AttributeLoss, generalised_mean, inner_products
from wsss_plugins.registry import MODELS, build_as

D, C, S, CLASSES = 24, 12, 3, 5


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def tokens(h: int = 3, w: int = 5, fused: bool = True) -> Tokens:
    other = numbers(2, D, h, w) if fused else None
    return Tokens(numbers(2, 1, D), numbers(2, D, h, w), other)


@pytest.fixture(params=MEETS)
def head(request) -> AttributeHead:
    return AttributeHead(CLASSES, D, C, S, meet=request.param).double()


def met(atte: AttributeExplainer, weight: torch.Tensor) -> torch.Tensor:
    """``W_s`` of one place, ``(c / S,)``, as a vector of D."""
    dims = atte.mlp[0].in_features
    if atte.meet == 'norm':
        return torch.full((dims,), weight.norm().item(), dtype=torch.float64)
    if atte.meet == 'tile':
        return torch.cat([weight] * (dims // len(weight)))
    return atte.project.weight @ weight


def test_attributes_by_their_definition(head) -> None:
    """Eqs. 7, 8 and 9 at every place of a grid that is not square."""
    atte, given = head.atte, tokens()
    first, norm, _, second = atte.mlp
    found, weights = head.attributes(given), atte(given.patch)
    assert found.shape == (2, S, D, 3, 5) and weights.shape == (2, S, C // S, 3, 5)
    for n in range(2):
        for y in range(3):
            for x in range(5):
                feature = given.patch[n, :, y, x]
                hidden = first.weight @ feature + first.bias
                hidden = (hidden - hidden.mean()) / (
                    hidden.var(correction=0) + 1e-5
                ) ** 0.5
                hidden = (hidden * norm.weight + norm.bias).clamp(min=0)
                weight = second.weight @ hidden + second.bias
                weight = weight / weight.square().sum().sqrt()
                for s, part in enumerate(weight.split(C // S)):
                    torch.testing.assert_close(weights[n, s, :, y, x], part)
                    expected = met(atte, part) * feature
                    torch.testing.assert_close(found[n, s, :, y, x], expected)


def test_class_maps_by_their_definition(head) -> None:
    """M = fused * G (eq. 11), classified with weights of its own for each attribute."""
    given = tokens()
    head.fc.bias.data.normal_()
    guided = given.fused[:, None] * head.attributes(given)  # (N, S, D, h, w)
    weight = head.fc.weight.reshape(CLASSES, S, D)
    parts = torch.einsum('csd,nsdhw->nschw', weight, guided)
    torch.testing.assert_close(head.attribute_logits(given), parts)
    maps = parts.sum(1) + head.fc.bias[:, None, None]
    torch.testing.assert_close(head.patch_logits(given), maps)
    torch.testing.assert_close(head.class_logits(given), pool_top(maps, 0.2))
    torch.testing.assert_close(head(given)['patch'], pool_top(maps, 0.2))
    scores = head.scores(given)
    torch.testing.assert_close(scores, pool_top(maps, 0.2).sigmoid())


def test_factors_give_what_the_attributes_themselves_give(head) -> None:
    attributes = head.decompose(tokens())
    made = attributes.made()
    for power in (1.0, 3.0, 4.5):
        expected = generalised_mean(made, power)
        torch.testing.assert_close(attributes.pooled(power), expected)
    torch.testing.assert_close(attributes.inner_products(), inner_products(made))


def test_an_image_is_shared_out_among_the_attributes(head) -> None:
    given = tokens()
    share = head.attribute_weight(given)
    assert share.shape == (2, S, 3, 5)
    assert (share >= 0).all() and (share <= 1).all() and share.std() > 0.01
    torch.testing.assert_close(share.square().sum(1), torch.ones(2, 3, 5).double())
    assert head.atte.meet != 'norm' or torch.equal(
        share[:, :, None], head.decompose(given).weight
    )


def test_known_attributes_are_reused(head, monkeypatch) -> None:
    given = tokens()
    expected = head.class_logits(given)
    attributes = head.decompose(given)
    monkeypatch.setattr(head.atte, 'forward', None)
    torch.testing.assert_close(head.pooled_logits(given, attributes), expected)


def test_the_last_tokens_stand_in_for_fused_ones(head) -> None:
    given = tokens(fused=False)
    same = Tokens(given.prefix, given.patch, given.patch)
    torch.testing.assert_close(head.patch_logits(given), head.patch_logits(same))


class Largest(TorchDispatchMode):
    """The size of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = [t.numel() for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        self.size = max([self.size, *sizes])
        return result


def test_class_maps_do_not_make_the_attribute_features() -> None:
    """(N, S, D, h, w) is S times as large as anything that class maps and losses need."""
    n, h, w, s, d = 2, 12, 10, 8, 96
    for meet in ('norm', 'tile'):
        head = AttributeHead(3, d, 32, s, meet=meet)
        given = Tokens(torch.randn(n, 1, d), torch.randn(n, d, h, w))
        with torch.no_grad(), Largest() as largest:
            head.patch_logits(given)
            attributes = head.decompose(given)
            attributes.pooled(3.0)
            attributes.inner_products()
        assert n * d * h * w <= largest.size <= 1.2 * n * d * h * w
        with torch.no_grad(), Largest() as largest:
            head.attributes(given)
        assert largest.size == n * s * d * h * w


def test_plain_tokens_in_place_of_attributes() -> None:
    head = AttributeHead(CLASSES, D, C, S, classify='tokens', pool_fraction=1).double()
    given = tokens()
    maps = head.fc(given.patch.movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(head.patch_logits(given), maps)
    torch.testing.assert_close(head.class_logits(given), maps.mean((2, 3)))
    assert head.attribute_weight(given).shape == (2, S, 3, 5)
    with pytest.raises(UserError, match=r"classify='tokens'.*attribute_weight"):
        head.attribute_logits(given)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (9, 2)])
def test_grids_of_any_size(head, size) -> None:
    """A place has the logits it has alone: nothing here looks at its neighbours."""
    given = tokens(*size)
    maps = head.patch_logits(given)
    assert maps.shape == (2, CLASSES, *size)
    last = Tokens(given.prefix, given.patch[..., -1:, -1:], given.fused[..., -1:, -1:])
    torch.testing.assert_close(maps[..., -1:, -1:], head.patch_logits(last))
    torch.testing.assert_close(head.class_logits(given), pool_top(maps, 0.2))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('value', [0.0, 1e-4, 100.0])
def test_half_precision_and_nothing_at_all(head, dtype, value) -> None:
    """Also where every weight of eq. 8 is 0: its norm divides by nothing."""
    head = head.float()
    features = torch.full((2, D, 3, 5), value)
    for zero in (False, True):
        if zero:
            for part in head.atte.mlp[3].parameters():
                part.data.zero_()
        leaf = features.clone().requires_grad_()
        with torch.autocast('cpu', dtype):
            attributes = head.atte.decompose(leaf)
            other = head.atte.decompose(torch.randn(2, D, 3, 5).abs())
            total = sum(AttributeLoss()(attributes, other).values())
            logits = head.pooled_logits(Tokens(leaf[:, :1, 0], leaf), attributes)
            total = total + logits.sigmoid().mean()
        total.backward()
        assert total.isfinite() and leaf.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in head.parameters())


def test_begins_as_he_et_al_propose() -> None:
    head = AttributeHead(400, 384, 256, 8, meet='project')
    layers = [head.atte.mlp[0], head.atte.mlp[3], head.atte.project, head.fc]
    for layer in layers:
        expected = math.sqrt(2 / layer.in_features)
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize(
    ('c', 's'),
    [(512, 8), (512, 16), (256, 4), (256, 8), (256, 16), (128, 4), (128, 8)],
)
@pytest.mark.parametrize('meet', MEETS)
def test_every_row_of_table_7_on_deit_small(c, s, meet) -> None:
    """The weights have unit length over all attributes, and each weighs the features."""
    atte = AttributeExplainer(384, c, s, meet).double()
    features = numbers(1, 384, 2, 3)
    weights, found = atte(features), atte.attributes(features)
    assert weights.shape == (1, s, c // s, 2, 3) and found.shape == (1, s, 384, 2, 3)
    length = weights.square().sum((1, 2))
    torch.testing.assert_close(length, torch.ones_like(length))
    for attribute in (0, s - 1):
        expected = met(atte, weights[0, attribute, :, 1, 2]) * features[0, :, 1, 2]
        torch.testing.assert_close(found[0, attribute, :, 1, 2], expected)


@pytest.mark.parametrize('prefix', [1, 2])
def test_stands_where_a_token_head_does(tiny_classifier, prefix) -> None:
    """On a softmax ViT with one or two prefix tokens, trained and asked."""
    plain = tiny_classifier(prefix=prefix)
    head = dict(type='AttributeHead', num_classes=5, channels=C, attributes=S)
    model = WSSSClassifier(backbone=plain.backbone, head=head, drop_patches=0.5)
    images, labels = torch.randn(2, 3, 24, 40), torch.ones(2, 5)
    losses = model.loss(images, labels)
    assert set(losses) == {'loss_patch'} and losses['loss_patch'].isfinite()
    given = model.backbone(images)
    assert given.fused is None
    assert model.cam_logits(given).shape == (2, 5, 3, 5)
    assert model.class_logits(given).shape == (2, 5)
    assert not model.head.reads_class_token


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(meet='norn'), "unknown meet 'norn': did you mean 'norm'"),
        (dict(channels=10), '10 channels do not make 3 attributes of equal size'),
        (dict(attributes=0), '12 channels do not make 0 attributes'),
        (dict(meet='tile', channels=15), "meet='tile' repeats 5 channels .* 24 of a"),
        (dict(classify='token'), "classify must be one of .*, not 'token'"),
        (dict(pool_fraction=0), 'pool_fraction must be in'),
    ],
)
def test_what_is_refused(arguments, message) -> None:
    given = dict(type='AttributeHead', num_classes=5, embed_dims=D)
    given |= dict(channels=C, attributes=S) | arguments
    with pytest.raises(ConfigError, match=message):
        build_as(MODELS, given, AttributeHead)
