"""ACR: two views of an image, the same patches, the same loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.backbones import capture
from wsss_plugins.classifiers import ACRClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import SYMMETRIES, Resampling, view_permutation

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


@pytest.mark.parametrize('heads', ['mean', 'each'])
@pytest.mark.parametrize(
    'view',
    [
        *sorted(SYMMETRIES),
        'rotation',
        ('hflip', 'rot90'),
        dict(type='RandomView', views=['vflip']),
    ],
    ids=str,
)
def test_a_model_that_sees_no_direction_is_consistent(
    tiny_classifier, images, prefix, view, heads
) -> None:
    """Its attention is permuted with the patches, whatever view; nothing is left to pay."""
    loss = dict(type='AttentionConsistencyLoss', heads=heads)
    build = dict(prefix=prefix, acr=True, view=view, consistency=loss)
    model = blind(tiny_classifier(**build).double())
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


def pair(model, images, other, **kwargs):
    """Attention of every block in both views, ``(L, N, heads, T, T)`` each."""
    seen = []
    for view in (images, other):
        with capture(model.backbone, view, **kwargs) as trace:
            seen.append(torch.stack(trace.attn))
    return seen


@pytest.mark.parametrize('blocks', [None, [-1], [0, 2]])
@pytest.mark.parametrize('heads', ['mean', 'each'])
def test_chosen_blocks_and_heads(
    tiny_classifier, images, prefix, blocks, heads
) -> None:
    loss = dict(type='AttentionConsistencyLoss', blocks=blocks, heads=heads)
    build = dict(prefix=prefix, acr=True, view='vflip', consistency=loss)
    model = tiny_classifier(**build).double()
    losses = model.loss(images, LABELS)
    one, two = pair(model, images, images.flip(-2))
    chosen = [0, 1, 2] if blocks is None else [b % 3 for b in blocks]
    order = view_permutation('vflip', (3, 5)).argsort()
    gaps = []
    for b in chosen:
        first, second = one[b], two[b]
        if heads == 'mean':
            first, second = first.mean(1, keepdim=True), second.mean(1, keepdim=True)
        first, second = first[..., prefix:], second[..., prefix:][..., order]
        act = first[..., 0, :] - second[..., 0, :]
        aff = first[..., prefix:, :] - second[..., prefix:, :][..., order, :]
        gaps.append((act.abs().mean(), aff.abs().mean()))
    for name, values in zip(
        ('loss_act', 'loss_aff'), zip(*gaps, strict=True), strict=True
    ):
        torch.testing.assert_close(losses[name], 100 * torch.stack(values).mean())


@pytest.mark.parametrize('scale', [0.6, 1.5])
def test_a_resized_view(tiny_classifier, images, prefix, scale) -> None:
    view = ['hflip', dict(type='ResizeView', scale=scale)]
    model = tiny_classifier(prefix=prefix, acr=True, view=view).double()
    losses = model.loss(images, LABELS)
    grid = (2, 3) if scale < 1 else (4, 8)  # 3 x 5 patches, and 4.5 rounds to even
    size = (8 * grid[0], 8 * grid[1])
    small = F.interpolate(images.flip(-1), size, mode='bilinear', antialias=True)
    one, two = (attn.mean(2) for attn in pair(model, images, small))
    two = Resampling(grid, (3, 5)).attention(two)
    order = view_permutation('hflip', (3, 5))
    gap = one[..., 0, prefix:] - two[..., 0, prefix:][..., order]
    torch.testing.assert_close(losses['loss_act'], 100 * gap.abs().mean())
    gap = (
        one[..., prefix:, prefix:]
        - two[..., prefix:, prefix:][..., order, :][..., order]
    )
    torch.testing.assert_close(losses['loss_aff'], 100 * gap.abs().mean())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.backbone.parameters())


@pytest.mark.parametrize('view', ['grey', ['hflip', 'hide'], 'hide'])
def test_colours_may_change(tiny_classifier, images, prefix, view) -> None:
    model = tiny_classifier(prefix=prefix, acr=True, view=view).double()
    losses = model.loss(images, LABELS)
    assert set(losses) == PARTS and all(losses[k] > 1e-6 for k in PARTS)


def test_a_grey_image_is_its_own_grey_view(tiny_classifier, images, prefix) -> None:
    """The classifier tells the view its mean and deviation."""
    model = tiny_classifier(prefix=prefix, acr=True, view='grey').double()
    raw = torch.rand(2, 1, 24, 40, dtype=torch.float64).expand(2, 3, 24, 40) * 255
    losses = model.loss(model.normalise(raw), LABELS)
    # The mean and deviation are in float32.
    assert losses['loss_act'] < 1e-4 and losses['loss_aff'] < 1e-4
    losses = model.loss(images, LABELS)
    assert losses['loss_act'] > 1e-3 and losses['loss_aff'] > 1e-3


def test_every_class_token_has_a_row(tiny_classifier, images) -> None:
    model = tiny_classifier(prefix=2, acr=True).double()
    model.backbone.num_class_tokens = 2
    losses = model.loss(images, LABELS)
    one, two = (attn.mean(2) for attn in pair(model, images, images.flip(-1)))
    order = view_permutation('hflip', (3, 5))
    gap = one[..., :2, 2:] - two[..., :2, 2:][..., order]
    torch.testing.assert_close(losses['loss_act'], 100 * gap.abs().mean())


@pytest.mark.parametrize('view', ['rot90', ['hflip', 'resize']], ids=str)
def test_a_token_for_every_class(images, view) -> None:
    """ACR in MCTformer: L_act compares the rows of all five classes."""
    size = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)
    backbone = dict(type='MultiClassTokenViT', num_classes=5, **size)
    head = dict(type='MCTHead', num_classes=5)
    model = ACRClassifier(view=view, backbone=backbone, head=head).double()
    torch.manual_seed(5)
    losses = model.loss(images, LABELS)
    torch.manual_seed(5)
    others, placement = model.view(images, model._form)
    with capture(model.backbone, images) as one, capture(model.backbone, others) as two:
        gap = one.head_mean() - placement.attention(two.head_mean())
    expected = 100 * gap[..., :5, 5:].abs().mean()
    torch.testing.assert_close(losses['loss_act'], expected)
    torch.testing.assert_close(losses['loss_aff'], 100 * gap[..., 5:, 5:].abs().mean())


OFF = dict(type='AttentionConsistencyLoss', activation_weight=0, affinity_weight=0)


def test_without_consistency_attention_is_not_computed(tiny_classifier, images) -> None:
    model = tiny_classifier(acr=True, consistency=OFF).double()
    model.backbone.explicit_attention = None
    losses = model.loss(images, LABELS)
    assert set(losses) == {'loss_class', 'loss_patch'}


@pytest.mark.parametrize('view', ['rot90', ['hflip', 'resize']], ids=str)
def test_class_maps_of_both_views(tiny_classifier, images, prefix, view) -> None:
    """SEAM-like: the maps of the view go back to the image's patches."""
    build = dict(acr=True, view=view, equivariance=dict(type='MapEquivarianceLoss'))
    model = tiny_classifier(prefix=prefix, consistency=OFF, **build).double()
    torch.manual_seed(5)
    losses = model.loss(images, LABELS)
    assert set(losses) == {'loss_class', 'loss_patch', 'loss_equivariance'}
    torch.manual_seed(5)
    others, placement = model.view(images, model._form)
    assert others.shape != images.shape
    total = 0
    back = placement.maps(model.cam_logits(model.backbone(others)))
    if view == 'rot90':
        maps = model.cam_logits(model.backbone(torch.rot90(images, 1, (2, 3))))
        torch.testing.assert_close(back, torch.rot90(maps, -1, (2, 3)))
    for n in range(2):
        pairs = zip(model.cam_logits(model.backbone(images))[n], back[n], strict=True)
        gaps = [
            (a.relu() / (a.relu().max() + 1e-5) - b.relu() / (b.relu().max() + 1e-5))
            for a, b in pairs
        ]
        present = [gaps[c].abs().mean() for c in range(5) if LABELS[n, c]]
        total = total + sum(present) / len(present) / 2
    torch.testing.assert_close(losses['loss_equivariance'], total)


def test_class_maps_of_kept_patches(tiny_classifier, images) -> None:
    term = dict(type='MapEquivarianceLoss')
    build = dict(acr=True, drop_patches=0.5, equivariance=term)
    model = blind(tiny_classifier(**build).double())
    assert model.loss(images, LABELS)['loss_equivariance'] < 1e-12


def test_a_network_without_attention_is_trained_like_seam() -> None:
    backbone = dict(type='TimmCNN', name='resnet18')
    head = dict(type='TokenHead', num_classes=5, sources=('patch',))
    term = dict(type='MapEquivarianceLoss')
    view = dict(type='ResizeView', scale=0.5)
    model = ACRClassifier(OFF, view, term, backbone=backbone, head=head)
    losses = model.loss(torch.randn(2, 3, 64, 96), LABELS.float())
    assert set(losses) == {'loss_patch', 'loss_equivariance'}
    losses['loss_equivariance'].backward()
    assert model.head.fc.weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match='compares attention, and TimmCNN has none'):
        ACRClassifier(backbone=backbone, head=head)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (
            dict(consistency=dict(type='AttentionConsistencyLoss', blocks=[3])),
            'the backbone has blocks 0 to 2 (or -3 to -1), not 3',
        ),
        (dict(view=[]), 'name at least one view, such as hflip'),
        (dict(view=None), 'a view must be a name'),
        (
            dict(view=['hflip', 'resize'], drop_patches=0.5),
            'drop_patches=0.5 drops the same patches from both views',
        ),
        (
            dict(equivariance=dict(type='TokenHead')),
            'TokenHead is no model: a subclass',
        ),
    ],
)
def test_mistakes_of_the_config(tiny_classifier, given, message) -> None:
    with pytest.raises(ConfigError) as error:
        tiny_classifier(acr=True, **given)
    assert str(error.value).startswith(message) and '\n' not in str(error.value)


def test_unknown_view(tiny_classifier) -> None:
    with pytest.raises(ConfigError) as error:
        tiny_classifier(acr=True, view='hflp')
    assert str(error.value).startswith("unknown view 'hflp': did you mean 'hflip'?")
