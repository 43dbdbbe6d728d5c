"""Every registered seed head keeps the contract of its registry."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins import seeds  # noqa: F401
from wsss_plugins.errors import DataError, UserError
from wsss_plugins.registry import SEED_HEADS, build_as, plugin_names
from wsss_plugins.seeds import MultiScaleFlip, PerClassHead, SeedHead

HEADS = plugin_names(SEED_HEADS)
LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 0, 1]])


@pytest.fixture(params=HEADS)
def head(request) -> SeedHead:
    return build_as(SEED_HEADS, dict(type=request.param), SeedHead)


@pytest.fixture(params=[1, 2], ids=['one-prefix', 'two-prefix'])
def model(request, head, tiny_classifier, tiny_ex_vit, tiny_mctformer):
    """A plain classifier, or one with what the head shows: attributes, class tokens."""
    for build in (tiny_classifier, tiny_ex_vit, tiny_mctformer):
        model = build(prefix=request.param)
        try:
            head.check_model(model)
        except UserError:
            continue
        return model.double()
    raise AssertionError(f'no model for {type(head).__name__}')


@pytest.fixture(params=[(32, 32), (24, 40)], ids=['square', 'non-square'])
def images(request):
    return torch.randn(3, 3, *request.param, dtype=torch.float64)


def hooks_of(model):
    return sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())


def test_shape_sign_and_absent_classes(head, model, images):
    maps = head(model, images, LABELS)
    size = tuple(images.shape[-2:])
    assert maps.shape[:2] == (3, 5)
    assert tuple(maps.shape[2:]) in {size, (size[0] // 8, size[1] // 8)}
    assert maps.isfinite().all() and (maps >= 0).all()
    assert (maps[LABELS == 0] == 0).all()
    assert (maps[LABELS == 1] > 0).any()


def test_batch_equals_one_by_one(head, model, images):
    together = head(model, images, LABELS)
    for n in range(3):
        alone = head(model, images[n : n + 1], LABELS[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-9, atol=1e-12)


def test_classes_do_not_meet(head, model, images):
    """A class's map is the same whichever other classes are asked for."""
    together = head(model, images, LABELS)
    for c in range(5):
        alone = head(model, images, LABELS * torch.eye(5, dtype=torch.long)[c])
        torch.testing.assert_close(together[:, c], alone[:, c], rtol=1e-9, atol=1e-12)


def test_signed_maps_are_the_maps_before_the_clamp(head, model, images):
    signed = head.signed_maps(model, images, LABELS)
    torch.testing.assert_close(signed.clamp(min=0), head(model, images, LABELS))
    assert (signed[LABELS == 0] == 0).all()


def test_classes_per_pass_bounds_memory_only(head, model, images):
    together = head(model, images, LABELS)
    if isinstance(head, PerClassHead):
        head.classes_per_pass = 1
    torch.testing.assert_close(head(model, images, LABELS), together)


def test_maps_of_chosen_classes(head, model, images):
    """In any order, also the same class twice."""
    signed = head.signed_maps(model, images, LABELS)
    chosen = torch.tensor([[2, 3, 4], [0, 3, 1]])  # (K, N), classes that are present
    maps = head.maps_of(model, images, chosen)
    expected = torch.stack([signed[range(3), classes] for classes in chosen])
    torch.testing.assert_close(maps, expected, rtol=1e-9, atol=1e-12)


def forwards_of(model):
    return [name for name, m in model.named_modules() if 'forward' in vars(m)]


def test_leaves_nothing_behind(head, model, images):
    model.train()
    fused = [block.attn.fused_attn for block in model.backbone.vit.blocks]
    maps = head(model, images, LABELS)
    assert hooks_of(model) == 0
    assert forwards_of(model) == []
    assert not maps.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert model.training
    assert [block.attn.fused_attn for block in model.backbone.vit.blocks] == fused


def test_leaves_nothing_behind_after_an_exception(head, model, images, monkeypatch):
    def fail(*_):
        raise RuntimeError('on purpose')

    last = model.backbone.vit.blocks[-1].norm2
    monkeypatch.setattr(last, 'forward', fail)
    fused = [block.attn.fused_attn for block in model.backbone.vit.blocks]
    with pytest.raises(RuntimeError, match='on purpose'):
        head(model, images, LABELS)
    assert hooks_of(model) == 0
    assert [block.attn.fused_attn for block in model.backbone.vit.blocks] == fused


def test_works_without_gradients_outside(head, model, images):
    with torch.no_grad():
        maps = head(model, images, LABELS)
    torch.testing.assert_close(maps, head(model, images, LABELS))


def test_wrong_labels_are_refused(head, model, images):
    with pytest.raises(DataError, match=r'labels must be of shape \(3, 5\)'):
        head(model, images, LABELS[:, :4])


def test_names_its_source(head):
    assert 'Source:' in (type(head).__doc__ or '')


def test_flip_equivariant_and_scales(head, model, images):
    """Averaging over the mirrored image makes a head's maps mirror with the image."""
    run = MultiScaleFlip(head, scales=(1.0, 1.5), flip=True)
    maps = run(model, images, LABELS)
    assert maps.shape[-2:] == images.shape[-2:]
    mirrored = run(model, images.flip(-1), LABELS).flip(-1)
    torch.testing.assert_close(maps, mirrored, rtol=1e-9, atol=1e-12)
