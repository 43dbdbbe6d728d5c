"""Pixel pairs, on small maps by brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wsss_plugins.affinity import (
    pair_indices,
    pair_labels,
    pair_mask,
    pair_offsets,
)
from wsss_plugins.errors import ConfigError, DataError


def brute_force(height: int, width: int, radius: int) -> set[tuple[int, int]]:
    """All unordered pairs of flat indices that are nearer than the radius."""
    pixels = [(y, x) for y in range(height) for x in range(width)]
    return {
        (i, j)
        for i, (y, x) in enumerate(pixels)
        for j, (v, u) in enumerate(pixels)
        if i < j and (y - v) ** 2 + (x - u) ** 2 < radius**2
    }


def listed(source: Tensor, target: Tensor) -> list[tuple[int, int]]:
    pairs = zip(source.expand_as(target).flatten(), target.flatten(), strict=True)
    return [(int(i), int(j)) for i, j in pairs if j >= 0]


def test_offsets_of_radius_two_and_their_numbers() -> None:
    assert pair_offsets(2).tolist() == [[0, 1], [1, -1], [1, 0], [1, 1]]
    assert [len(pair_offsets(radius)) for radius in (2, 3, 5)] == [4, 12, 34]


def test_all_pairs_of_irn_once_each() -> None:
    found = listed(*pair_indices(6, 9, 4, 'irn'))
    assert len(found) == len(set(found))
    assert set(found) == brute_force(6, 9, 4)


def test_psa_has_no_pair_at_the_border() -> None:
    source, target = pair_indices(7, 9, 3, 'psa')
    assert target.min() >= 0
    found = set(listed(source, target))
    assert found < brute_force(7, 9, 3)
    last_row = [(i, i + 1) for i in range(6 * 9, 7 * 9 - 1)]
    first_column = [(y * 9, (y + 1) * 9) for y in range(6)]
    assert not found & {*last_row, *first_column}
    # Whatever starts inside is there.
    assert found == {
        (i, j) for i, j in brute_force(7, 9, 3) if i // 9 <= 4 and 2 <= i % 9 <= 6
    }


@pytest.mark.parametrize('border', ['psa', 'irn'])
def test_mask_marks_the_pairs_of_the_indices(border) -> None:
    source, target = pair_indices(8, 11, 4, border)
    wanted = torch.zeros(len(target), 8 * 11, dtype=torch.bool)
    wanted[:, source] = target >= 0
    assert torch.equal(pair_mask(8, 11, 4, border).flatten(1), wanted)


def test_labels_of_two_by_three_pixels() -> None:
    label = torch.tensor([[0, 0, 1], [2, 1, 255]])
    bg_pos, fg_pos, neg = pair_labels(label, 2, 'irn')
    # Offsets: right, below left, below, below right; pixels 0..5 row by row.
    assert bg_pos.nonzero().tolist() == [[0, 0]]
    assert fg_pos.nonzero().tolist() == [[1, 2]]
    assert neg.nonzero().tolist() == [
        [0, 1], [0, 3], [1, 1], [2, 0], [2, 1], [3, 0],
    ]  # fmt: skip


def test_labels_of_a_batch_are_those_of_its_images() -> None:
    labels = torch.randint(0, 3, (2, 9, 12))
    labels[torch.rand(2, 9, 12) < 0.2] = 255
    together = pair_labels(labels, 3)
    for one, kinds in zip(labels, zip(*together, strict=True), strict=True):
        for kind, alone in zip(kinds, pair_labels(one, 3), strict=True):
            assert torch.equal(kind, alone) and kind.any()


def test_uint8_labels_are_as_int64_ones() -> None:
    label = torch.tensor([0, 1, 255], dtype=torch.uint8)[torch.randint(3, (6, 9))]
    for small, large in zip(
        pair_labels(label, 3), pair_labels(label.long(), 3), strict=True
    ):
        assert torch.equal(small, large)


def test_a_map_too_small_for_psa_says_what_it_needs() -> None:
    with pytest.raises(DataError, match=r"\(4, 30\).*at least \(5, 9\).*'irn'"):
        pair_indices(4, 30, 5)
    assert not pair_mask(4, 30, 5, 'psa').any()


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match=r"'ira'.*did you mean 'irn'"):
        pair_indices(9, 9, 5, 'ira')
    with pytest.raises(ConfigError, match='at least 2, not 1'):
        pair_mask(9, 9, 1)
    with pytest.raises(DataError, match=r'\(9,\)'):
        pair_labels(torch.zeros(9), 3)
