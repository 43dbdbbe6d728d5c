"""The eX-ViT classifier: its loss term by term, and the branch that follows."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from wsss_plugins.backbones import ExViT, load_weights
from wsss_plugins.classifiers import ExViTClassifier, MomentumBranch, MomentumHook
from wsss_plugins.classifiers.momentum import PATIENCE
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.losses import (
    attribute_discriminability,
    attribute_diversity,
    generalised_mean,
    inner_products,
)
from wsss_plugins.structures import ClassSample

TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)
LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]]).double()


def build(classify: str = 'attributes', backbone=None, **terms) -> ExViTClassifier:
    head = dict(type='AttributeHead', num_classes=5, channels=12, attributes=3)
    model = ExViTClassifier(
        backbone=backbone or ExViT(**TINY),
        head=dict(head, classify=classify),
        attribute_loss=dict(type='AttributeLoss', **terms),
    )
    return model.double()


@pytest.fixture
def views() -> torch.Tensor:
    """Two views of two images, not square."""
    return torch.randn(2, 2, 3, 24, 40, dtype=torch.float64)


def shaken(model: ExViTClassifier) -> ExViTClassifier:
    """With a second branch that differs from the first."""
    for value in model.momentum.state_dict().values():
        value += 0.05 * torch.randn_like(value)
    return model


def test_loss_by_its_definition(views) -> None:
    """Eqs. 12 to 15, from attribute features made in full."""
    model = shaken(build())
    losses = model.loss(views, LABELS)
    tokens = model.backbone(views[:, 0])
    first = model.head.attributes(tokens)
    other = model.momentum.backbone(views[:, 1]).patch
    second = model.momentum.atte.attributes(other)
    chance = model.head(tokens)['patch'].sigmoid()
    likelihood = LABELS * chance.log() + (1 - LABELS) * (1 - chance).log()
    gap = attribute_discriminability(generalised_mean(first), generalised_mean(second))
    expected = dict(
        loss_global=-likelihood.mean(),
        loss_dis=0.5 * gap,
        loss_div=attribute_diversity(inner_products(first)),
    )
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    assert losses['loss_dis'] > 1e-4


ROWS = {
    'cam': (dict(classify='tokens', discriminability=0, diversity=0), {'loss_cam'}),
    'global': (dict(discriminability=0, diversity=0), {'loss_global'}),
    'dis': (dict(classify='tokens', diversity=0), {'loss_cam', 'loss_dis'}),
    'div': (dict(classify='tokens', discriminability=0), {'loss_cam', 'loss_div'}),
    'global dis': (dict(diversity=0), {'loss_global', 'loss_dis'}),
    'global div': (dict(discriminability=0), {'loss_global', 'loss_div'}),
    'all': (dict(), {'loss_global', 'loss_dis', 'loss_div'}),
}


@pytest.mark.parametrize('row', ROWS)
def test_rows_of_table_6(row, views) -> None:
    """Every trained weight gets a gradient, as distributed training asks for."""
    switches, expected = ROWS[row]
    model = build(**switches)
    losses = model.loss(views, LABELS)
    assert set(losses) == expected
    sum(losses.values()).backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(trained) > 30 and all(p.grad is not None for p in trained)
    frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert all(n.startswith('head.atte') for n in frozen)
    assert bool(frozen) == (row == 'cam')
    needs_second = 'loss_dis' in expected
    assert (model.momentum is not None) == needs_second
    assert any('momentum' in key for key in model.state_dict()) == needs_second


def test_without_dis_the_second_view_costs_nothing(views) -> None:
    """It may stay in the pipeline: the first view is then the same in all rows."""
    model = build(discriminability=0)
    seen = []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, k=None: seen.append(x) or forward(x, k)
    both, one = model.loss(views, LABELS), model.loss(views[:, 0], LABELS)
    assert [tuple(x.shape) for x in seen] == [(2, 3, 24, 40)] * 2
    assert all(torch.equal(both[name], one[name]) for name in one)


def test_one_view_is_refused_where_two_are_compared(views) -> None:
    with pytest.raises(DataError, match='put TwoViews into the pipeline'):
        build().loss(views[:, 0], LABELS)


def test_gradients_stop_at_the_second_branch(views) -> None:
    model = shaken(build())
    views.requires_grad_()
    sum(model.loss(views, LABELS).values()).backward()
    assert views.grad[:, 0].abs().sum() > 0
    assert not views.grad[:, 1].any()
    assert not any(p is q for p in model.parameters() for q in model.momentum.buffers())
    assert list(model.momentum.parameters()) == []


def test_dropped_patches(views) -> None:
    model = build()
    model.drop_patches = 0.5
    torch.manual_seed(7)
    losses = model.loss(views, LABELS)
    torch.manual_seed(7)
    tokens = model.backbone(views[:, 0], model.sample_patches(views[:, 0]))
    assert tokens.patch.shape[-1] * tokens.patch.shape[-2] == 8  # of 15
    logits = model.head(tokens)['patch']
    expected = model.classification_loss(logits, LABELS)
    torch.testing.assert_close(losses['loss_global'], expected)


def test_the_second_branch_is_a_moving_average(views) -> None:
    """By hand, over three steps of training; also of weights that have an own shape."""
    model = build()
    first = {'backbone': model.backbone, 'atte': model.head.atte}
    average = {
        f'{part}.{key}': value.clone()
        for part, module in first.items()
        for key, value in module.state_dict().items()
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for momentum in (0.1, 0.9, 0.99):
        optimizer.zero_grad()
        sum(model.loss(views, LABELS).values()).backward()
        optimizer.step()
        model.follow(momentum)
        for part, module in first.items():
            for key, value in module.state_dict().items():
                name = f'{part}.{key}'
                average[name] = momentum * average[name] + (1 - momentum) * value
    state = model.momentum.state_dict()
    assert state.keys() == average.keys() and len(state) > 40
    for key, value in average.items():
        torch.testing.assert_close(state[key], value)
    moved = [not torch.equal(average[f'backbone.{k}'], v)
             for k, v in model.backbone.state_dict().items()]  # fmt: skip
    assert sum(moved) > 30


def test_running_statistics_are_copied() -> None:
    norm = nn.BatchNorm1d(3)
    branch = MomentumBranch(norm=norm)
    norm(torch.randn(8, 3) + 5)
    norm.weight.data += 1
    branch.follow(0.75, norm=norm)
    assert torch.equal(branch.norm.running_mean, norm.running_mean)
    assert branch.norm.num_batches_tracked == 1
    torch.testing.assert_close(branch.norm.weight, torch.full((3,), 1.25))


def equal_branches(model: ExViTClassifier) -> bool:
    pairs = [
        (model.backbone, model.momentum.backbone),
        (model.head.atte, model.momentum.atte),
    ]
    return all(
        torch.equal(value, copy.state_dict()[key])
        for module, copy in pairs
        for key, value in module.state_dict().items()
    )


def test_branches_begin_equal(tmp_path) -> None:
    """As built, from a file, and after mmengine's init_weights, which keeps timm's."""
    model = build()
    assert equal_branches(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    shaken(model).init_weights()
    assert equal_branches(model)
    assert all(torch.equal(model.state_dict()[key], v) for key, v in before.items())
    torch.save(model.backbone.state_dict(), tmp_path / 'weights.pth')
    given = ExViT(**TINY, pretrained=str(tmp_path / 'weights.pth'))
    loaded = build(backbone=given)
    assert equal_branches(loaded)
    assert torch.equal(loaded.backbone.vit.cls_token, model.backbone.vit.cls_token)


def test_saved_and_loaded_both_branches_are_there(views) -> None:
    model, other = shaken(build()), build()
    load_weights(other, model.state_dict(), 'memory', strict=True)
    one, two = model.loss(views, LABELS), other.loss(views, LABELS)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_second_branch_stays_in_evaluation_mode() -> None:
    model = build(backbone=ExViT(**TINY, proj_drop_rate=0.5))
    for mode in (True, False, True):
        model.train(mode)
        assert model.backbone.training is mode
        assert not any(part.training for part in model.momentum.modules())


def test_pictures_and_pairs_are_normalised_alike() -> None:
    model = build().float()
    pairs = list(torch.randint(0, 256, (3, 2, 3, 24, 40), dtype=torch.uint8))
    done = model.data_preprocessor(dict(inputs=pairs, data_samples=[]), training=True)
    assert done['inputs'].shape == (3, 2, 3, 24, 40)
    for i, pair in enumerate(pairs):
        alone = model.data_preprocessor(dict(inputs=list(pair), data_samples=[]))
        assert torch.equal(done['inputs'][i], alone['inputs'])
        torch.testing.assert_close(done['inputs'][i], model.normalise(pair.float()))
    stacked = dict(inputs=torch.stack(pairs), data_samples=[])
    assert torch.equal(model.data_preprocessor(stacked)['inputs'], done['inputs'])


def test_a_step_of_training_and_predictions(views) -> None:
    model = build().float()
    samples = [ClassSample() for _ in range(2)]
    for sample, label in zip(samples, LABELS.float(), strict=True):
        sample.gt_label = label
    losses = model(views.float(), samples, mode='loss')
    total, logged = model.parse_losses(losses)
    assert total.requires_grad and {'loss_global', 'loss_dis', 'loss_div'} < set(logged)
    predicted = model(views[:, 0].float(), samples, mode='predict')
    assert [tuple(sample.pred_score.shape) for sample in predicted] == [(5,)] * 2


def runner(model, step: int, steps: int = 100, stepped: bool = True):
    wrapper = SimpleNamespace(should_update=lambda: stepped)
    return SimpleNamespace(
        model=model, iter=step, max_iters=steps, optim_wrapper=wrapper
    )


def test_the_hook_moves_the_branch() -> None:
    model, hook = build(), MomentumHook(0.9, warmup=False)
    model.backbone.vit.cls_token.data += 1
    before = model.momentum.backbone.vit.cls_token.clone()
    hook.before_train(runner(model, 7))
    assert torch.equal(model.momentum.backbone.vit.cls_token, before), 'it goes on'
    hook.after_train_iter(runner(model, 7, stepped=False), 0)
    assert torch.equal(model.momentum.backbone.vit.cls_token, before), 'accumulates'
    hook.after_train_iter(runner(model, 7), 0)
    torch.testing.assert_close(model.momentum.backbone.vit.cls_token, before + 0.1)
    hook.before_train(runner(model, 0))
    assert equal_branches(model), 'a new training begins with equal branches'
    without = build(discriminability=0)
    hook.before_train(runner(without, 0))
    hook.after_train_iter(runner(without, 0), 0)


def test_momentum_of_every_step() -> None:
    plain = MomentumHook(0.99, warmup=False)
    assert [plain.at(step, 100) for step in (0, 50, 99)] == [0.99] * 3
    warm = MomentumHook(0.99)
    assert [warm.at(step, 10**4) for step in (0, 8)] == [1 / 10, 9 / 18]
    assert warm.at(889, 10**4) < 0.99 == warm.at(890, 10**4)
    ramp = MomentumHook(0.99, warmup=False, ramp=True)
    assert ramp.at(0, 100) == pytest.approx(0.99)
    assert ramp.at(50, 100) == pytest.approx(0.995)
    assert ramp.at(25, 100) == pytest.approx(1 - 0.01 * (1 + math.sqrt(0.5)) / 2)
    assert ramp.at(100, 100) == pytest.approx(1)


def test_a_branch_that_nobody_moves_is_noticed(views) -> None:
    model = build()
    with torch.no_grad():
        for _ in range(PATIENCE):
            model.loss(views[..., :8, :8], LABELS)
        with pytest.raises(ConfigError, match=r'MomentumHook\) to custom_hooks'):
            model.loss(views, LABELS)
        model.follow(0.9)
        model.loss(views, LABELS)


@pytest.mark.parametrize('momentum', [-0.1, 1.0, float('nan')])
def test_wrong_momentum(momentum) -> None:
    with pytest.raises(ConfigError, match=r'momentum must be in \[0, 1\), not'):
        MomentumHook(momentum)


def test_a_model_without_branch_or_attributes(tiny_classifier) -> None:
    with pytest.raises(ConfigError, match='WSSSClassifier has no momentum branch'):
        MomentumHook().before_train(runner(tiny_classifier(), 0))
    plain = dict(type='TokenHead', num_classes=5)
    with pytest.raises(ConfigError, match='needs an AttributeHead, not a TokenHead'):
        ExViTClassifier(backbone=ExViT(**TINY), head=plain)
