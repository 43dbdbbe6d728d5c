"""Affinities of attention and the walk along them, by their definitions."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.affinity import (
    AttentionAffinity,
    affinity_walk,
    raw_products,
    square_window,
)
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as


def test_a_window_is_a_square() -> None:
    window = square_window(3, 4, 1).reshape(3, 4, 3, 4)
    around = window[1, 2]
    assert around.sum() == 9 and around[0, 1] and around[2, 3] and not around[1, 0]
    assert torch.equal(square_window(3, 4, 0), torch.eye(12, dtype=torch.bool))


def test_affinities_are_symmetric() -> None:
    head = build_as(
        MODELS, dict(type='AttentionAffinity', channels=5), AttentionAffinity
    )
    found = head([torch.randn(2, 2, 6, 6), torch.randn(2, 3, 6, 6)])
    assert found.shape == (2, 6, 6) and (found > 0).all() and (found < 1).all()
    torch.testing.assert_close(found, found.transpose(1, 2))
    with pytest.raises(ConfigError, match='channels >= 1'):
        AttentionAffinity(0)


def test_queries_of_a_window_are_averaged() -> None:
    queries, keys = torch.randn(1, 2, 24, 3), torch.randn(1, 2, 6, 3)
    found = raw_products(queries, keys, (4, 6), 2)
    assert found.shape == (1, 2, 6, 6)
    window = [2, 3, 8, 9]  # rows 0 and 1, columns 2 and 3
    wanted = (queries[0, 1, window] @ keys[0, 1].T).mean(0)
    torch.testing.assert_close(found[0, 1, 1], wanted)


def test_a_step_of_the_walk() -> None:
    maps, affinities = torch.rand(2, 3, 2, 2), torch.rand(2, 4, 4)
    window = square_window(2, 2, 0)
    labels = torch.tensor([[1, 0, 1], [0, 1, 0]])
    squares = affinities.square()
    wanted = maps.flatten(2) @ (squares / (squares.sum(1, keepdim=True) + 1e-4))
    torch.testing.assert_close(affinity_walk(maps, affinities), wanted.view_as(maps))
    found = affinity_walk(maps, affinities, labels, 0.4, window)
    assert not found[0, 2].any() and not found[1, 1].any() and not found[1, 3].any()
    own = affinities.diagonal(dim1=1, dim2=2).square()
    kept = (own / (own + 0.1)).view(2, 2, 2)
    torch.testing.assert_close(
        found.sum(1), kept, msg='shares sum to 1 before the walk'
    )
