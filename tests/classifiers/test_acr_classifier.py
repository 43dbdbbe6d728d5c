"""ACR: two views of an image, the same patches, the same loss."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.backbones import capture
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import VIEWS, view_permutation

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]]).double()
PARTS = {'loss_class', 'loss_patch', 'loss_act', 'loss_aff'}


@pytest.fixture(params=[1, 2], ids=['one-prefix', 'two-prefix'])
def prefix(request) -> int:
    return request.param


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


def blind(model):
    """Removes what tells left from right: positions, and the inside of a patch."""
    model.backbone.vit.pos_embed.data.zero_()
    weight = model.backbone.vit.patch_embed.proj.weight.data
    weight.copy_(weight.mean((2, 3), keepdim=True).expand_as(weight))
    return model


def test_parts_and_their_weights(tiny_classifier, images, prefix) -> None:
    model = tiny_classifier(prefix=prefix, acr=True).double()
    losses = model.loss(images, LABELS)
    assert set(losses) == PARTS
    assert all(value.ndim == 0 and value > 0 for value in losses.values())
    ten = dict(type='AttentionConsistencyLoss', activation_weight=10, affinity_weight=0)
    other = tiny_classifier(prefix=prefix, acr=True, consistency=ten).double()
    other.load_state_dict(model.state_dict())
    lighter = other.loss(images, LABELS)
    assert set(lighter) == PARTS - {'loss_aff'}
    torch.testing.assert_close(lighter['loss_act'] * 10, losses['loss_act'])


def test_classification_losses_of_both_views_are_summed(
    tiny_classifier, images, prefix
) -> None:
    model = tiny_classifier(prefix=prefix, acr=True).double()
    losses = model.loss(images, LABELS)
    for source in ('class', 'patch'):
        both = [
            model.head_losses(model.backbone(view), LABELS)[f'loss_{source}']
            for view in (images, images.flip(-1))
        ]
        torch.testing.assert_close(losses[f'loss_{source}'], sum(both))


def test_consistency_by_its_definition(tiny_classifier, images, prefix) -> None:
    """Entry by entry: patch (r, c) of the image is patch (r, W - 1 - c) of the view."""
    model = tiny_classifier(prefix=prefix, acr=True).double()
    losses = model.loss(images, LABELS)
    with capture(model.backbone, images) as one:
        pass
    with capture(model.backbone, images.flip(-1)) as two:
        pass
    h, w = one.grid
    first = one.head_mean()[..., 0, prefix:].unflatten(-1, (h, w))
    second = two.head_mean()[..., 0, prefix:].unflatten(-1, (h, w)).flip(-1)
    expected = 100 * (first - second).abs().mean()
    torch.testing.assert_close(losses['loss_act'], expected)
    sides = (h, w)
    first = one.head_mean()[..., prefix:, prefix:].unflatten(-1, sides)
    first = first.unflatten(-3, sides)
    second = two.head_mean()[..., prefix:, prefix:].unflatten(-1, sides)
    second = second.unflatten(-3, sides).flip(-1).flip(-3)
    expected = 100 * (first - second).abs().mean()
    torch.testing.assert_close(losses['loss_aff'], expected)


@pytest.mark.parametrize('view', sorted(VIEWS))
def test_a_model_that_sees_no_direction_is_consistent(
    tiny_classifier, images, prefix, view
) -> None:
    """Its attention is permuted with the patches, whatever view; nothing is left to pay."""
    model = blind(tiny_classifier(prefix=prefix, acr=True, view=view).double())
    images = images[..., :24] if view in ('rot90', 'rot270') else images
    losses = model.loss(images, LABELS)
    assert losses['loss_act'] < 1e-10 and losses['loss_aff'] < 1e-10
    # With positions it is not: the zero above is no accident.
    model.backbone.vit.pos_embed.data.normal_()
    losses = model.loss(images, LABELS)
    assert losses['loss_act'] > 1e-3 and losses['loss_aff'] > 1e-3


def test_a_mirror_symmetric_image_gives_twice_the_loss_of_one_view(
    tiny_classifier, prefix
) -> None:
    half = torch.randn(2, 3, 24, 16, dtype=torch.float64)
    images = torch.cat([half, half.flip(-1)], -1)
    model = tiny_classifier(prefix=prefix, acr=True).double()
    losses = model.loss(images, LABELS)
    single = model.head_losses(model.backbone(images), LABELS)
    for name, value in single.items():
        torch.testing.assert_close(losses[name], 2 * value)


def test_the_same_patches_of_the_scene_are_dropped_from_both_views(
    tiny_classifier, images, prefix
) -> None:
    model = blind(tiny_classifier(prefix=prefix, acr=True, drop_patches=0.5).double())
    seen = []
    forward = model.backbone.forward
    model.backbone.forward = lambda x, k=None: seen.append(k) or forward(x, k)
    losses = model.loss(images, LABELS)
    assert losses['loss_act'] < 1e-10 and losses['loss_aff'] < 1e-10
    kept, kept_in_view = seen
    assert kept.shape == kept_in_view.shape == (2, 8)
    order = view_permutation('hflip', (3, 5))
    assert torch.equal(order[kept_in_view], kept)


def test_gradients_flow_into_both_views_and_leave_no_hooks(
    tiny_classifier, images
) -> None:
    model = tiny_classifier(acr=True).double()
    images.requires_grad_()
    sum(model.loss(images, LABELS).values()).backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    assert images.grad.abs().sum() > 0
    assert sum(len(m._forward_hooks) for m in model.modules()) == 0


def test_unknown_view(tiny_classifier) -> None:
    with pytest.raises(ConfigError) as error:
        tiny_classifier(acr=True, view='hflp')
    assert str(error.value).startswith("unknown view 'hflp': did you mean 'hflip'?")
