"""Centres and groups of displacement fields that one can think out."""

from __future__ import annotations

import numpy as np
import torch

from wsss_plugins.affinity import (
    cluster_centroids,
    find_centroids,
    fragments,
    instance_maps,
)


def two_objects() -> np.ndarray:
    """Columns 0 to 6 point to (3, 3), the others to (3, 10)."""
    y, x = np.indices((7, 14)).astype(np.float32)
    return np.stack([3 - y, np.where(x < 7, 3, 10) - x])


def test_each_pixel_finds_the_centre_of_its_object() -> None:
    found = find_centroids(two_objects(), steps=30)
    assert (found[0] == 3).all()
    assert (found[1, :, :7] == 3).all() and (found[1, :, 7:] == 10).all()


def test_without_steps_a_pixel_is_its_own_centre() -> None:
    assert np.array_equal(find_centroids(two_objects(), 0), np.indices((7, 14)))


def test_places_stay_on_the_map() -> None:
    found = find_centroids(np.full((2, 4, 5), 9.0, np.float32), 3)
    assert (found[0] == 3).all() and (found[1] == 4).all()


def test_pixels_of_one_centre_are_a_group() -> None:
    field = two_objects()
    masks = cluster_centroids(find_centroids(field, 30), field, threshold=1.5)
    assert masks.shape == (2, 7, 14)
    assert masks[0, :, :7].all() and masks[1, :, 7:].all()
    assert (masks.sum(0) == 1).all()


def test_pixels_without_a_centre_are_a_group_of_their_own() -> None:
    field = two_objects()
    places = np.indices((7, 14))
    masks = cluster_centroids(places, field, threshold=1.5)
    assert len(masks) == 3 and masks[0].sum() == 7 * 14 - 2 * 9


def test_maps_are_divided_among_groups() -> None:
    maps = torch.rand(2, 4, 5)
    groups = torch.zeros(3, 4, 5, dtype=torch.bool)
    groups[0, :2], groups[1, 2:], groups[2, 0, 0] = True, True, True
    parts = instance_maps(maps, groups)
    assert parts.shape == (6, 4, 5)
    torch.testing.assert_close(parts[0] + parts[1], maps[0])
    assert parts[5].nonzero().tolist() == [[0, 0]] and parts[5, 0, 0] == maps[1, 0, 0]


def test_fragments_of_small_parts_have_no_score() -> None:
    masks = np.zeros((2, 4, 6), bool)
    masks[0, 0, :4], masks[0, 1, 4] = True, True  # these touch at a corner only
    scores = np.full((2, 4, 6), 0.5, np.float32)
    scores[0, 0, 2] = 0.9
    parts, owners, best = fragments(scores, masks, fewest=2)
    assert parts.shape == (2, 4, 6) and owners.tolist() == [0, 0]
    assert best.tolist() == [np.float32(0.9), 0]
    none, _, _ = fragments(scores[:0], masks[:0], 2)
    assert none.shape == (0, 4, 6)
