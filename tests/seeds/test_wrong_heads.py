"""What a seed head's author may get wrong, and the one line that says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss_plugins.errors import ConfigError, PlugInError
from wsss_plugins.seeds import (
    CAM,
    AffinityRefined,
    PerClassHead,
    SeedHead,
    class_rows,
    rows_of,
)
from wsss_plugins.seeds.base import fitting_heads

LABELS = torch.tensor([[1, 0, 1, 0, 1], [0, 1, 0, 0, 0]])
ALLOWED = (
    'allowed is a tensor (N, C, h, w), here (2, 5, h, w) with h >= 3 and w >= 5, the patch '
    'grid or finer'
)


class Wrong(SeedHead):
    """Returns what ``spoil`` makes of the right maps."""

    needs_attention = False
    needs_class_token = False

    def __init__(self, spoil) -> None:
        super().__init__()
        self.spoil = spoil

    def class_maps(self, model, trace, labels):
        return self.spoil(model.cam_logits(trace.tokens))


class WrongSlots(PerClassHead):
    """Returns one map for each image, whichever class is asked for."""

    needs_class_token = False

    def slot_maps(self, model, trace, slots):
        return trace.tokens.patch.mean(1)


class WrongForward(SeedHead):
    """Has a ``forward`` of its own, past what the base class mends."""

    def __init__(self, spoil) -> None:
        super().__init__()
        self.spoil = spoil

    def class_maps(self, model, trace, labels):
        raise NotImplementedError

    def forward(self, model, images, labels):
        maps = (
            torch.rand(len(images), model.num_classes, 3, 5) * labels[..., None, None]
        )
        return self.spoil(maps)


class FirstRow(SeedHead):
    """The head of a first try: the attention of the token in row 0."""

    def class_maps(self, model, trace, labels):
        row = trace.head_mean(-1)[0, :, 0, trace.num_prefix :].unflatten(1, trace.grid)
        return row[:, None].expand(-1, labels.shape[1], -1, -1)


@pytest.fixture
def images():
    return torch.randn(2, 3, 24, 40)


@pytest.mark.parametrize(
    'spoil, returned',
    [
        (lambda maps: maps[:, 0], 'a tensor of shape (2, 3, 5)'),
        (lambda maps: maps[:, :4], 'a tensor of shape (2, 4, 3, 5)'),
        (lambda maps: maps[:1], 'a tensor of shape (1, 5, 3, 5)'),
        (lambda maps: maps.mT, 'a tensor of shape (2, 5, 5, 3)'),
        (
            lambda maps: maps.amax((2, 3), keepdim=True),
            'a tensor of shape (2, 5, 1, 1)',
        ),
        (lambda maps: (maps, maps), 'tuple'),
        (lambda maps: np.zeros(maps.shape), 'ndarray'),
        (lambda maps: None, 'NoneType'),
    ],
)
def test_maps_of_another_shape(spoil, returned, images, tiny_classifier) -> None:
    model, head = tiny_classifier(), Wrong(spoil)
    for ask in (head, head.signed_maps, AffinityRefined(head)):
        with pytest.raises(PlugInError) as error:
            ask(model, images, LABELS)
        assert str(error.value) == f'Wrong.class_maps returned {returned}: {ALLOWED}'


def test_a_single_image_does_not_hide_a_wrong_shape(images, tiny_classifier) -> None:
    """``(1, h, w)`` was spread over all classes."""
    with pytest.raises(PlugInError, match=r'shape \(1, 3, 5\).*\(1, 5, h, w\)'):
        Wrong(lambda maps: maps[:, 0])(tiny_classifier(), images[:1], LABELS[:1])


def test_slots_of_another_shape(images, tiny_classifier) -> None:
    for ask in (
        lambda: WrongSlots()(tiny_classifier(), images, LABELS),
        lambda: WrongSlots().maps_of(tiny_classifier(), images, torch.tensor([[0, 1]])),
    ):
        with pytest.raises(PlugInError) as error:
            ask()
        assert str(error.value).startswith(
            'WrongSlots.slot_maps returned a tensor of shape (2, 3, 5): allowed is a tensor '
            '(K, N, h, w), here ('
        )


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_values_that_are_no_numbers(value, images, tiny_classifier) -> None:
    def spoil(maps):
        maps = maps.clone()
        maps[1, 1, 2, 3] = value
        return maps

    for ask in (Wrong(spoil), Wrong(spoil).signed_maps):
        with pytest.raises(PlugInError) as error:
            ask(tiny_classifier(), images, LABELS)
        assert str(error.value) == (
            'Wrong returned NaN or infinite values: allowed are finite numbers; look for a '
            'division by zero, a logarithm or a root of what may be 0'
        )


@pytest.mark.parametrize(
    'spoil, message',
    [
        (lambda maps: maps - 2, 'WrongForward returned values down to -2: allowed are'),
        (lambda maps: maps + 1, 'maps of classes that the labels do not have: absent'),
        (lambda maps: maps[:, :2], r'shape \(2, 2, 3, 5\): allowed is'),
    ],
)
def test_a_forward_of_its_own(spoil, message, images, tiny_classifier) -> None:
    with pytest.raises(PlugInError, match=message):
        WrongForward(spoil)(tiny_classifier(), images, LABELS)
    right = WrongForward(lambda maps: maps)(tiny_classifier(), images, LABELS)
    assert right.shape == (2, 5, 3, 5)


def test_row_0_is_refused_where_each_class_has_a_token(
    images, tiny_classifier, tiny_mctformer, tiny_ex_vit
) -> None:
    """Its author stated nothing: the defaults are those of such a head."""
    assert FirstRow()(tiny_classifier(), images, LABELS).shape == (2, 5, 3, 5)
    with pytest.raises(ConfigError) as error:
        FirstRow()(tiny_mctformer(), images, LABELS)
    text = str(error.value)
    assert text.startswith(
        'FirstRow reads one class token, and MultiClassTokenViT has one for each class: '
        'take ACRGradientMap, '
    )
    assert text.endswith(
        '; if that is not so, its class must state needs_class_token = False, or '
        'follows_class_tokens = True with rows from class_rows'
    )
    with pytest.raises(
        ConfigError, match='come from the patch tokens: take AttributeCAM'
    ):
        FirstRow()(tiny_ex_vit(), images, LABELS)


def test_rows_of_the_classes_own_tokens(
    images, tiny_classifier, tiny_mctformer
) -> None:
    class OwnRow(PerClassHead):
        follows_class_tokens = True

        def slot_maps(self, model, trace, slots):
            rows = rows_of(trace.attn[-1], class_rows(model, slots)).mean(2)
            return rows[..., trace.num_prefix :].unflatten(-1, trace.grid)

    for build in (tiny_classifier, tiny_mctformer):
        maps = OwnRow()(build(), images, LABELS)
        assert (maps.amax((2, 3)) > 0).equal(LABELS.bool())
    assert not maps[0, 0].equal(maps[0, 2])


def test_messages_name_every_head_that_fits(tiny_classifier, tiny_mctformer) -> None:
    """Of the registry: a list in the base class forgets the next head."""
    several = fitting_heads(tiny_mctformer())
    assert {'GETAM', 'MCTformerMap', 'AttentionGradCAM', 'CAM'} <= set(several)
    assert not {'TSCAM', 'FullLRP', 'AttributeCAM', 'AffinityRefined'} & set(several)
    one = fitting_heads(tiny_classifier())
    assert {'TSCAM', 'FullLRP', 'CAM'} <= set(one) and 'MCTformerMap' not in one
    assert CAM.needs_class_token is False and SeedHead.needs_class_token is True
