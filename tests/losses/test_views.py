"""What makes the second view of a batch."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import (
    SYMMETRIES,
    VIEWS,
    HidePatchesView,
    ImageFormat,
    Moves,
    Reordering,
    ResizeView,
    View,
    ViewChain,
    build_view,
)
from wsss_plugins.registry import MODELS

MEAN, STD = (torch.tensor(x).view(3, 1, 1) for x in ([120.0, 110, 90], [50.0, 60, 70]))
FORM = ImageFormat(8, MEAN, STD)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


@pytest.mark.parametrize('name', sorted(VIEWS))
def test_every_name_gives_views_of_whole_patches(images, name) -> None:
    before = images.clone()
    view, placement = build_view(name)(images, FORM)
    assert torch.equal(images, before), 'the input is left alone'
    assert view.dtype == images.dtype and view.shape[:2] == images.shape[:2]
    assert view.shape[2] % 8 == view.shape[3] % 8 == 0
    assert not torch.equal(view, images)
    size = 1 + view.shape[2] * view.shape[3] // 64
    if placement is not None:
        attn = torch.rand(2, size, size, dtype=torch.float64)
        assert placement.attention(attn).shape == (2, 16, 16)


@pytest.mark.parametrize('name', sorted(SYMMETRIES))
def test_patches_are_found_again(name) -> None:
    """Every patch has a colour of its own: the order says which stands where."""
    numbers = torch.arange(15.0).reshape(3, 5)
    image = numbers.repeat_interleave(8, 0).repeat_interleave(8, 1).expand(1, 3, 24, 40)
    view, placement = build_view(name)(image, FORM)
    seen = view[0, 0, ::8, ::8]
    assert torch.equal(seen.flatten(), placement.order.float())
    assert torch.equal(placement.maps(seen), numbers)


def test_both_flips_are_half_a_turn(images) -> None:
    half, _ = build_view('rot180')(images, FORM)
    for both in ('hvflip', ['hflip', 'vflip'], 'hflip+vflip'):
        assert torch.equal(build_view(both)(images, FORM)[0], half)


def test_resized_images(images) -> None:
    view, placement = ResizeView(0.5)(images, FORM)
    assert view.shape == (2, 3, 16, 16)  # 3 x 5 patches, halved: 1.5 and 2.5, rounded
    assert (placement.view, placement.grid) == ((2, 2), (3, 5))
    flat = torch.full((1, 3, 24, 40), 0.25)
    torch.testing.assert_close(ResizeView(1.4)(flat, FORM)[0].unique(), flat.unique())
    same, placement = ResizeView(1)(images, FORM)
    assert torch.equal(same, images) and placement is None
    small, _ = ResizeView(1e-6)(images, FORM)
    assert small.shape == (2, 3, 8, 8), 'one patch is left'


def test_the_size_is_drawn_from_the_range(images) -> None:
    view = ResizeView((0.5, 2.0))
    wide = [view(images, FORM)[0].shape[3] // 8 for _ in range(200)]
    assert set(wide) <= set(range(2, 11)) and len(set(wide)) >= 8
    torch.manual_seed(3)
    first = view(images, FORM)[0]
    torch.manual_seed(3)
    assert torch.equal(view(images, FORM)[0], first)


def test_grey_is_the_luminance(images) -> None:
    view, placement = build_view('grey')(images, FORM)
    assert placement is None
    raw = view * STD + MEAN
    red, green, blue = (images * STD + MEAN).unbind(1)
    expected = 0.299 * red + 0.587 * green + 0.114 * blue
    for channel in raw.unbind(1):
        torch.testing.assert_close(channel, expected)
    again, _ = build_view('grey')(view, FORM)
    torch.testing.assert_close(again, view)


@pytest.mark.parametrize(('size', 'side'), [(1, 8), (2, 16)])
def test_hidden_squares(size, side) -> None:
    images = torch.rand(64, 3, 24, 40) + 1
    view, placement = HidePatchesView(0.25, size)(images, FORM)
    assert placement is None
    hidden = view == 0
    assert torch.equal(view[~hidden], images[~hidden])
    for y in range(0, 24, side):
        for x in range(0, 40, side):
            cell = hidden[:, :, y : y + side, x : x + side].flatten(1)
            assert torch.equal(cell.all(1), cell.any(1)), 'whole squares, all channels'
    # 15 or 6 squares in each of 64 images; four standard deviations.
    squares = hidden[:, 0, ::side, ::side].float()
    assert squares[0].numel() == (15 if size == 1 else 6)
    assert abs(squares.mean() - 0.25) < 4 * (0.1875 / squares.numel()) ** 0.5
    assert len(squares.flatten(1).unique(dim=0)) > 10, 'every image its own'


def test_one_of_several_at_random(images) -> None:
    turns = [torch.rot90(images, k, (2, 3)) for k in (1, 2, 3)]
    view = build_view('rotation')
    drawn = [view(images, FORM)[0] for _ in range(40)]
    counts = [
        sum(d.shape == t.shape and torch.equal(d, t) for d in drawn) for t in turns
    ]
    assert sum(counts) == 40 and min(counts) > 4
    assert not view.resamples
    assert build_view(dict(type='RandomView', views=['hflip', 'resize'])).resamples


def test_one_after_the_other(images) -> None:
    view, placement = build_view(['rot90', 'grey', 'hflip'])(images, FORM)
    turned = torch.rot90(images, 1, (2, 3))
    expected, _ = build_view('grey')(turned.flip(-1), FORM)
    torch.testing.assert_close(view, expected)
    assert [step.grid for step in placement.steps] == [(3, 5), (5, 3)]
    resized = build_view(('hflip', dict(type='ResizeView', scale=0.5)))
    assert isinstance(resized, ViewChain) and resized.resamples
    assert resized(images, FORM)[0].shape == (2, 3, 16, 16)
    assert build_view(['grey'])(images, FORM)[1] == Moves([])


class RollView(View):
    """One of a user's own: everything a patch to the right."""

    def __call__(self, images, form):
        grid = form.grid(images)
        order = torch.arange(grid[0] * grid[1]).reshape(grid).roll(1, 1).flatten()
        return images.roll(form.stride, 3), Reordering(order, grid)


def test_a_view_of_ones_own(images) -> None:
    MODELS.register_module(module=RollView)
    try:
        for given in ('RollView', dict(type='RollView'), RollView(), [RollView()]):
            view, placement = build_view(given)(images, FORM)
            assert torch.equal(view, images.roll(8, 3))
            maps = torch.rand(1, 3, 5)
            assert torch.equal(placement.maps(maps.roll(1, 2)), maps)
        with pytest.raises(ConfigError, match=r"unknown view 'RolView': .* 'RollView'"):
            build_view('RolView')
    finally:
        MODELS.module_dict.pop('RollView')


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('hflp', "unknown view 'hflp': did you mean 'hflip'?"),
        ('TokenHead', "unknown view 'TokenHead': "),
        ('hflip+', "unknown view '': Allowed: grey, hflip, hide, "),
        ([], 'name at least one view, such as hflip, vflip'),
        (['hflip', []], 'name at least one view'),
        (None, 'a view must be a name, a dict with type, or a list of these, not None'),
        (3, 'a view must be a name'),
        (dict(type='TokenHead'), 'TokenHead is no model: a subclass of View is needed'),
        (dict(type='ResizeView', scal=2), "ResizeView takes no argument 'scal'"),
        (dict(type='ResizeView', scale=(2, 1)), 'scale of ResizeView must be a factor'),
        (dict(type='ResizeView', scale=0), 'scale of ResizeView must be a factor'),
        (
            dict(type='ResizeView', scale=(1, 2, 3)),
            'scale of ResizeView must be float',
        ),
        (dict(type='SymmetryView', symmetry='rot45'), "unknown symmetry 'rot45': "),
        (dict(type='HidePatchesView', share=1), r'share must be in \(0, 1\), not 1'),
        (dict(type='HidePatchesView', size=0), 'size counts patches and must be 1'),
        (
            dict(type='RandomView', views='hflip'),
            'views of RandomView must be Sequence',
        ),
        (dict(type='RandomView', views=[]), 'name at least one view'),
    ],
)
def test_mistakes(given, message) -> None:
    with pytest.raises(ConfigError, match=f'^{message}'.replace('?', r'\?')) as error:
        build_view(given)
    assert '\n' not in str(error.value)
