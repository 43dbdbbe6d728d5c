"""Every registered seed head keeps the contract of its registry."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from contract_models import LABELS as ALL_LABELS
from contract_models import (
    MODELS,
    non_square_images,
    trained,
    with_classes_in_another_order,
)
from torch import Tensor

from wsss_plugins import seeds  # noqa: F401
from wsss_plugins.backbones import ExViT
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import DataError, PlugInError, UserError
from wsss_plugins.registry import SEED_HEADS, build_as, plugin_names
from wsss_plugins.seeds import MultiScaleFlip, PerClassHead, SeedHead

HEADS = plugin_names(SEED_HEADS)
OPTIONS = dict(IntegratedGradients=dict(steps=3))
"""Options of heads that take long with their defaults; the contract does not read them."""

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 1, 0, 0, 1]])


@pytest.fixture(params=HEADS)
def head(request) -> SeedHead:
    return built(request.param)


def built(name: str) -> SeedHead:
    return build_as(SEED_HEADS, dict(type=name, **OPTIONS.get(name, {})), SeedHead)


@pytest.fixture(params=[1, 2], ids=['one-prefix', 'two-prefix'])
def model(request, head, tiny_classifier, tiny_ex_vit, tiny_mctformer):
    """A plain classifier, or one with what the head shows: attributes, class tokens.

    Its weights do not depend on what was drawn before, so that :data:`TOGETHER` holds.
    """
    torch.manual_seed(0)
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
    numbers = torch.Generator().manual_seed(1)
    return torch.randn(3, 3, *request.param, generator=numbers, dtype=torch.float64)


TOGETHER: dict[tuple, Tensor] = {}


@pytest.fixture
def together(request, head, model, images) -> Tensor:
    """The maps of the batch; equal models and images of other tests have the same."""
    key = tuple(map(request.node.callspec.params.get, ('head', 'model', 'images')))
    if key not in TOGETHER:
        TOGETHER[key] = head(model, images, LABELS)
    return TOGETHER[key]


def hooks_of(model):
    kinds = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks')
    return sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds)


def fail(*_):
    raise RuntimeError('on purpose')


def test_shape_sign_and_absent_classes(images, together):
    maps = together
    size = tuple(images.shape[-2:])
    assert maps.shape[:2] == (3, 5)
    assert tuple(maps.shape[2:]) in {size, (size[0] // 8, size[1] // 8)}, (
        f'maps must be (N, C, h, w) on the grid of the patches or of the pixels, rows '
        f'first, not {tuple(maps.shape)} for images of {size}'
    )
    assert maps.isfinite().all() and (maps >= 0).all()
    assert (maps[LABELS == 0] == 0).all()
    assert (maps[LABELS == 1] > 0).any()


def test_batch_equals_one_by_one(head, model, images, together):
    for n in range(3):
        alone = head(model, images[n : n + 1], LABELS[n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-9, atol=1e-12)


def test_classes_do_not_meet(head, model, images, together):
    """A class's map is the same whichever other classes are asked for."""
    for c in range(5):
        alone = head(model, images, LABELS * torch.eye(5, dtype=torch.long)[c])
        torch.testing.assert_close(together[:, c], alone[:, c], rtol=1e-9, atol=1e-12)


def test_signed_maps_are_the_maps_before_the_clamp(head, model, images, together):
    signed = head.signed_maps(model, images, LABELS)
    torch.testing.assert_close(signed.clamp(min=0), together)
    assert (signed[LABELS == 0] == 0).all()


def test_classes_per_pass_bounds_memory_only(head, model, images, together):
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
    last = model.backbone.vit.blocks[-1].norm2
    monkeypatch.setattr(last, 'forward', fail)
    fused = [block.attn.fused_attn for block in model.backbone.vit.blocks]
    with pytest.raises(RuntimeError, match='on purpose'):
        head(model, images, LABELS)
    assert hooks_of(model) == 0
    assert [block.attn.fused_attn for block in model.backbone.vit.blocks] == fused


def test_works_without_gradients_outside(head, model, images, together):
    with torch.no_grad():
        maps = head(model, images, LABELS)
    torch.testing.assert_close(maps, together)


def test_wrong_labels_are_refused(head, model, images):
    with pytest.raises(DataError, match=r'labels must be of shape \(3, 5\)'):
        head(model, images, LABELS[:, :4])


def test_names_its_source(head):
    assert 'Source:' in (type(head).__doc__ or ''), (
        f'the docstring of {type(head).__name__} must have a line that begins with '
        "'Source:' and names the paper or the code that the method is from, or says 'this "
        "repository'"
    )


def test_flip_equivariant_and_scales(head, model, images):
    """Averaging over the mirrored image makes a head's maps mirror with the image."""
    run = MultiScaleFlip(head, scales=(1.0, 1.5), flip=True)
    maps = run(model, images, LABELS)
    assert maps.shape[-2:] == images.shape[-2:]
    mirrored = run(model, images.flip(-1), LABELS).flip(-1)
    torch.testing.assert_close(maps, mirrored, rtol=1e-8, atol=1e-12)


# Every head on every kind of model, non-square, after a short training: see
# tests/contract_models.py. A pair is refused in one line, or keeps the whole contract.


MAY_BE_NEGATIVE = {'AttentionGradCAM'}
"""Heads whose published method gives a class negative values alone, now and then; all
heads that spread along attention do so where it is signed, as that of E-MHA is."""


@dataclass(frozen=True)
class Pair:
    """A head and a model that it accepts, and the maps of every image."""

    head: SeedHead
    model: WSSSClassifier
    maps: Tensor | None


@cache
def pair_of(head: str, model: str) -> Pair:
    maps = maps_of_all(built(head), trained(model))
    return Pair(built(head), trained(model), maps)


@pytest.fixture(params=MODELS)
def any_model(request) -> str:
    return request.param


@pytest.fixture(params=HEADS)
def pair(request, any_model) -> Pair:
    return pair_of(request.param, any_model)


def maps_of_all(head: SeedHead, model: WSSSClassifier) -> Tensor | None:
    """Maps of every image; None where the head refuses the model, as it may."""
    try:
        return head(model, non_square_images(model), ALL_LABELS)
    except PlugInError:
        raise
    except UserError as error:
        text = str(error)
        assert '\n' not in text and re.search(r': |take |use |give |set ', text), (
            f'a refusal is one line that says what to do, not: {text}'
        )
        return None


def test_every_accepted_model_gets_maps_of_every_class(pair) -> None:
    """Of a class that no image has a map of, the head reads what does not depend on it."""
    head, any_model, maps = pair.head, pair.model, pair.maps
    if maps is None:
        return  # refused
    found = maps.amax((2, 3))
    if type(head).__name__ in MAY_BE_NEGATIVE or isinstance(any_model.backbone, ExViT):
        images = non_square_images(any_model)
        signed = head.signed_maps(any_model, images, ALL_LABELS)
        found = signed.abs().amax((2, 3))
    assert maps.isfinite().all() and (maps >= 0).all()
    assert (found[ALL_LABELS == 0] == 0).all(), 'absent classes must be exactly 0'
    empty = (found.amax(0) == 0).nonzero().flatten().tolist()
    assert not empty, (
        f'{type(head).__name__} accepts the model, and its maps of the classes {empty} are '
        'empty on every image: set needs_class_token (see SeedHead), or refuse the model '
        'in check_model'
    )


def test_renamed_classes_have_renamed_maps(pair) -> None:
    """A head that takes one class's token for another's breaks this."""
    head, any_model, maps = pair.head, pair.model, pair.maps
    if maps is None:
        return  # refused
    order = torch.tensor([3, 0, 4, 2, 1])
    renamed = with_classes_in_another_order(any_model, order)
    images = non_square_images(renamed)[:3]  # every class is on one of them
    found = head(renamed, images, ALL_LABELS[:3, order])
    torch.testing.assert_close(
        found,
        maps[:3, order],
        rtol=1e-7,
        atol=1e-12,
        msg=lambda text: (
            f'{type(head).__name__} gives a class the map of another one: the same model '
            'with its classes in another order must give the same maps in that order; '
            f'take the rows of class tokens from class_rows. {text}'
        ),
    )


def test_every_accepted_model_batch_equals_one_by_one(pair) -> None:
    head, any_model, maps = pair.head, pair.model, pair.maps
    if maps is None:
        return  # refused
    images = non_square_images(any_model)
    for n in (0, 4):
        alone = head(any_model, images[n : n + 1], ALL_LABELS[n : n + 1])
        torch.testing.assert_close(
            maps[n : n + 1],
            alone,
            rtol=1e-7,
            atol=1e-12,
            msg=lambda text: (
                f'an image alone must have the map that it has in a batch: {text}'
            ),
        )


def test_every_accepted_model_is_left_as_it_was(pair) -> None:
    """No hook, gradient or mode is left, also where the model fails half-way."""
    head, any_model = pair.head, pair.model
    if pair.maps is None:
        return  # refused
    assert hooks_of(any_model) == 0 and forwards_of(any_model) == []
    assert all(p.grad is None for p in any_model.parameters())
    model = copy.deepcopy(any_model).train()
    last = [m for m in model.backbone.modules() if not list(m.children())][-1]
    fails = last.register_forward_pre_hook(fail)
    kinds = {name: module.training for name, module in model.named_modules()}
    try:
        head(model, non_square_images(model)[:2], ALL_LABELS[:2])
    except RuntimeError as error:
        assert 'on purpose' in str(error)
    fails.remove()
    assert hooks_of(model) == 0 and forwards_of(model) == [], 'hooks live in a with'
    assert {n: m.training for n, m in model.named_modules()} == kinds
