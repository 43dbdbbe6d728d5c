"""Affinities from features, boundaries and colours."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wsss_plugins.affinity import (
    BoundarySource,
    ColourBoundaries,
    ColourFeatures,
    FeatureSource,
    boundary_affinities,
    feature_affinities,
    image_affinities,
    pair_offsets,
)
from wsss_plugins.errors import ConfigError, DataError


def pair(dy: int, dx: int, radius: int = 5) -> int:
    return pair_offsets(radius).tolist().index([dy, dx])


def test_a_boundary_counts_where_the_way_crosses_it() -> None:
    boundaries = torch.zeros(1, 6, 12, dtype=torch.float64)
    boundaries[0, :, 5] = 0.75
    affinities = boundary_affinities(boundaries, 5)[0]
    assert affinities[pair(0, 3), 2, 3] == 0.25  # from column 3 to 6
    assert affinities[pair(0, 3), 2, 1] == 1  # to column 4
    assert affinities[pair(0, 3), 2, 5] == 0.25  # sets out on the boundary
    assert affinities[pair(2, -2), 1, 6] == 0.25
    assert affinities[pair(4, 0), 1, 4] == 1


def test_the_way_is_as_wide_as_its_slope_wants() -> None:
    """From (0, 0) to (1, 3) all of the box but its far corners is near the line."""
    for y, x, crossed in [(0, 0, 1), (0, 3, 1), (1, 0, 1), (1, 2, 1), (0, 2, 1)]:
        boundaries = torch.zeros(1, 2, 4)
        boundaries[0, y, x] = 1
        affinity = boundary_affinities(boundaries, 5)[0, pair(1, 3), 0, 0]
        assert affinity == 1 - crossed, (y, x)
    # Distance of (0, 2) to the diagonal of a box of 2 x 2 steps: sqrt(2) >= 1.
    boundaries = torch.zeros(1, 3, 3)
    boundaries[0, 0, 2] = boundaries[0, 2, 0] = 1
    assert boundary_affinities(boundaries, 5)[0, pair(2, 2), 0, 0] == 1


def test_colour_features_are_means_of_the_cells() -> None:
    image = torch.randint(0, 256, (3, 11, 6), dtype=torch.uint8)
    source = ColourFeatures(radius=2, stride=4, sigma=10.0)
    affinities, share = image_affinities(source, image)
    assert affinities.shape == (4, 3, 2) and (share == 1).all()
    colours = image.double()
    here, below = colours[:, 4:8, 4:].mean((1, 2)), colours[:, 8:, 4:].mean((1, 2))
    wanted = (-(here - below).abs().mean() / 10).exp()
    found = affinities[pair_offsets(2).tolist().index([1, 0]), 1, 1]
    assert torch.allclose(found.double(), wanted, rtol=1e-4)


def test_colour_boundaries_are_at_the_change() -> None:
    image = torch.zeros(3, 8, 20, dtype=torch.uint8)
    image[:, :, 12:] = 100
    source = ColourBoundaries(stride=2, sigma=50.0)
    affinities, share = image_affinities(source, image)
    boundary = 1 - share
    strength = 1 - torch.tensor(-2.0).exp()
    assert torch.allclose(boundary[:, 5:7], strength)
    assert (boundary[:, :5] == 0).all() and (boundary[:, 7:] == 0).all()
    assert torch.allclose(affinities[pair(0, 4), 0, 3], 1 - strength)


def test_both_are_told_apart_by_what_they_offer() -> None:
    assert isinstance(ColourFeatures(), FeatureSource)
    assert not isinstance(ColourFeatures(), BoundarySource)
    assert isinstance(ColourBoundaries(), BoundarySource)
    assert not isinstance(nn.Linear(2, 2), FeatureSource)


@pytest.mark.parametrize('size', [(1, 1), (1, 30), (9, 8)])
@pytest.mark.parametrize('source', [ColourFeatures(), ColourBoundaries()])
def test_small_images(source, size) -> None:
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    affinities, share = image_affinities(source, image)
    grid = (-(-size[0] // 8), -(-size[1] // 8))
    assert affinities.shape == (34, *grid) and share.shape == grid
    assert affinities.isfinite().all() and share.isfinite().all()


def test_feature_affinities_of_one_pair() -> None:
    features = torch.rand(1, 6, 4, 5, dtype=torch.float64)
    found = feature_affinities(features, 3)[0, 0, 2, 1]
    gap = (features[0, :, 2, 1] - features[0, :, 2, 2]).abs().mean()
    assert torch.allclose(found, (-gap).exp())


def test_a_grid_of_another_stride_is_refused() -> None:
    source = ColourFeatures(stride=4)
    source.features = lambda images: images[..., ::2, ::2]  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r'stride 4 .*\(8, 12\) instead of \(4, 6\)'):
        image_affinities(source, torch.zeros(3, 15, 22, dtype=torch.uint8))


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match='at least 2, not 1'):
        ColourFeatures(radius=1)
    with pytest.raises(ConfigError, match=r'ColourBoundaries .* not 8 and -1'):
        ColourBoundaries(sigma=-1)
