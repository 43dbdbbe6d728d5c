"""The classifier and its head: pooling, losses, predictions, dropped patches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.backbones import Tokens
from wsss_plugins.classifiers import (
    ACRClassifier,
    TokenHead,
    WSSSClassifier,
    pool_top,
)
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.seeds import TSCAM
from wsss_plugins.structures import ClassSample


@pytest.fixture(params=[1, 2], ids=['one-prefix', 'two-prefix'])
def model(request, tiny_classifier):
    return tiny_classifier(prefix=request.param).double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 24, 40, dtype=torch.float64)


@pytest.fixture
def samples() -> list[ClassSample]:
    labels = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 0, 1]])
    samples = [ClassSample() for _ in labels]
    for sample, label in zip(samples, labels, strict=True):
        sample.gt_label = label.double()
    return samples


# pool_top -----------------------------------------------------------------------------


def test_pool_top_is_the_mean_of_the_largest() -> None:
    maps = torch.tensor([[[[5.0, 1, 2], [4, 0, 3]]]]).repeat(2, 2, 1, 1)
    assert pool_top(maps, 0.5).tolist() == [[4, 4], [4, 4]]
    assert pool_top(maps, 1.0).tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert pool_top(maps, 0.01).tolist() == [[5, 5], [5, 5]], 'at least one'


def test_pool_top_equals_a_sort() -> None:
    maps = torch.randn(2, 3, 5, 7)
    expected = maps.flatten(2).sort(descending=True).values[..., :7].mean(-1)
    torch.testing.assert_close(pool_top(maps, 0.2), expected)


# TokenHead ----------------------------------------------------------------------------


def test_head_reads_the_first_prefix_token_and_the_patches() -> None:
    head = TokenHead(num_classes=4, embed_dims=6, pool_fraction=1.0)
    tokens = Tokens(torch.randn(2, 2, 6), torch.randn(2, 6, 3, 5))
    logits = head(tokens)
    expected = tokens.prefix[:, 0] @ head.fc.weight.T + head.fc.bias
    torch.testing.assert_close(logits['class'], expected)
    mean = tokens.patch.mean((2, 3))
    expected = mean @ head.patch_fc.weight.T + head.patch_fc.bias
    torch.testing.assert_close(logits['patch'], expected)
    both = (logits['class'] + logits['patch']) / 2
    torch.testing.assert_close(head.scores(tokens), both.sigmoid())


def test_shared_weight_and_single_source() -> None:
    head = TokenHead(num_classes=4, embed_dims=6, shared=True, sources=('class',))
    assert len(list(head.parameters())) == 2
    tokens = Tokens(torch.randn(2, 1, 6), torch.randn(2, 6, 3, 5))
    assert set(head(tokens)) == {'class'}
    at = head.patch_logits(tokens)[:, :, 1, 2]
    torch.testing.assert_close(at, head.fc(tokens.patch[:, :, 1, 2]))


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(sources=('clas',)), "sources must be some of ('class', 'patch'), not ('clas',)"),
        (dict(sources=()), "sources must be some of ('class', 'patch'), not ()"),
        (dict(pool_fraction=0), 'pool_fraction must be in (0, 1], not 0'),
        (dict(pool_fraction=1.5), 'pool_fraction must be in (0, 1], not 1.5'),
    ],
)  # fmt: skip
def test_head_mistakes(wrong, message) -> None:
    with pytest.raises(ConfigError) as error:
        TokenHead(num_classes=4, embed_dims=6, **wrong)
    assert str(error.value) == message


# WSSSClassifier -----------------------------------------------------------------------


def test_losses_by_their_formula(model, images, samples) -> None:
    losses = model(images, samples, mode='loss')
    labels = torch.stack([s.gt_label for s in samples])
    tokens = model.backbone(images)
    logits = dict(
        loss_class=model.class_logits(tokens),
        loss_patch=pool_top(model.cam_logits(tokens), 0.2),
    )
    assert set(losses) == set(logits)
    for name, value in logits.items():
        expected = F.binary_cross_entropy_with_logits(value, labels)
        torch.testing.assert_close(losses[name], expected)


def test_predict_fills_in_scores_and_tensor_gives_logits(
    model, images, samples
) -> None:
    predicted = model(images, samples, mode='predict')
    assert predicted[1] is samples[1]
    logits = model(images)
    assert set(logits) == {'class', 'patch'}
    mean = (logits['class'] + logits['patch']) / 2
    for n, sample in enumerate(predicted):
        torch.testing.assert_close(sample.pred_score, mean[n].sigmoid())
        assert sample.gt_label.tolist() == samples[n].gt_label.tolist()


def test_mean_and_deviation_are_those_of_the_preprocessor(model) -> None:
    pixels = torch.full((1, 3, 24, 40), 200.0)
    given = model.data_preprocessor(dict(inputs=[pixels[0]]), training=False)['inputs']
    torch.testing.assert_close(model.normalise(pixels), torch.stack(list(given)))
    expected = (200 - 123.675) / 58.395
    assert model.normalise(pixels)[0, 0, 0, 0].item() == pytest.approx(expected)


def test_dropped_patches(tiny_classifier, images, samples) -> None:
    model = tiny_classifier(drop_patches=0.4).double()
    keep = model.sample_patches(images)
    assert keep.shape == (3, 9)  # 60 % of 3 x 5
    for row in keep:
        assert len(set(row.tolist())) == 9 and row.max() < 15
    assert not torch.equal(keep[0].sort().values, keep[1].sort().values)
    seen = []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, k=None: seen.append(k) or forward(x, k)
    model(images, samples, mode='loss')
    model(images, samples, mode='predict')
    assert seen[0].shape == (3, 9) and seen[1] is None, 'only in training'
    assert tiny_classifier().sample_patches(images) is None


@pytest.mark.parametrize('share', [1.0, -0.1])
def test_share_of_dropped_patches_out_of_range(tiny_classifier, share) -> None:
    with pytest.raises(ConfigError, match=r'drop_patches must be in \[0, 1\), not'):
        tiny_classifier(drop_patches=share)


def test_a_part_of_the_wrong_kind(tiny_classifier) -> None:
    with pytest.raises(ConfigError, match=r'^unknown model .MultiLabelAP.'):
        tiny_classifier(loss=dict(type='MultiLabelAP'))


# Without a class token ----------------------------------------------------------------

REGISTERS = dict(
    type='TimmViT',
    img_size=32,
    patch_size=8,
    embed_dim=24,
    depth=2,
    num_heads=3,
    class_token=False,
    reg_tokens=3,
)
PATCH = dict(type='TokenHead', num_classes=5, sources=('patch',))


def test_a_register_is_not_taken_for_the_class_token(images) -> None:
    """Registers are prefix tokens too; the first of them is no class token."""
    head = dict(PATCH, sources=('class', 'patch'))
    with pytest.raises(
        ConfigError,
        match=r'^TimmViT has no class token \(its 3 prefix tokens are registers\)',
    ):
        WSSSClassifier(backbone=REGISTERS, head=head)
    with pytest.raises(ConfigError, match=r'^L_act .* TimmViT has no class token: set'):
        ACRClassifier(backbone=REGISTERS, head=PATCH)
    model = WSSSClassifier(backbone=REGISTERS, head=PATCH).double()
    assert model.backbone.num_prefix == 3 and not model.backbone.has_class_token
    with pytest.raises(UserError, match=r'^TSCAM reads .* TimmViT has 0: take CAM$'):
        TSCAM()(model, images, torch.ones(3, 5))
