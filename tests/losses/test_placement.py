"""Attention of a view, back at the patches of the image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses import (
    SYMMETRIES,
    Moves,
    Reordering,
    Resampling,
    restore_order,
    view_permutation,
)

GRIDS = [(3, 5), (5, 2), (1, 6), (4, 4)]
EXACT = dict(rtol=0, atol=0)


def eye(size: int) -> torch.Tensor:
    return torch.eye(size, dtype=torch.float64)


def vec(matrix: torch.Tensor) -> torch.Tensor:
    """Stacks the columns (ACR, eq. 10)."""
    return matrix.T.flatten()


def commutation(rows: int, columns: int) -> torch.Tensor:
    """C of eq. 11: ``C vec(H) = vec(H.T)`` for H of ``rows`` x ``columns``."""
    matrix = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    for i in range(rows):
        for j in range(columns):
            # H[i, j] stands at j * rows + i of vec(H), at i * columns + j of vec(H.T).
            matrix[i * columns + j, j * rows + i] = 1
    return matrix


def factors(symmetry: str, grid: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """P_h, P_w and C of eqs. 13 and 14: ``X' = P_h X P_w``, or ``P_h X.T P_w``.

    The quarter turns transpose; half a turn is both flips and does not.
    """
    h, w = grid
    flip = {size: eye(size).flip(0) for size in grid}
    plain, turned = eye(h * w), commutation(h, w)
    return {
        'hflip': (eye(h), flip[w], plain),
        'vflip': (flip[h], eye(w), plain),
        'hvflip': (flip[h], flip[w], plain),
        'rot180': (flip[h], flip[w], plain),
        'rot90': (flip[w], eye(h), turned),
        'rot270': (eye(w), flip[h], turned),
    }[symmetry]


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize('symmetry', sorted(SYMMETRIES))
def test_the_gather_is_the_kronecker_form(symmetry, grid):
    """Appendix B, step by step, on tokens in the paper's order: column after column."""
    p_h, p_w, c = factors(symmetry, grid)
    h, w = grid
    queries, keys = torch.randint(-9, 9, (2, 4, h, w)).double()
    seen = [SYMMETRIES[symmetry](x) for x in (queries, keys)]
    # Eqs. 13 to 16: the view, and its vector from the image's.
    for x, view in zip((queries[0], keys[0]), (seen[0][0], seen[1][0]), strict=True):
        between = x.T if symmetry in ('rot90', 'rot270') else x
        torch.testing.assert_close(view, p_h @ between @ p_w, **EXACT)
        made = torch.kron(p_w.T.contiguous(), p_h) @ c @ vec(x)
        torch.testing.assert_close(vec(view), made, **EXACT)
    # Attention before its softmax, which acts on each entry, and the inversion, eq. 20.
    attn = sum(torch.outer(vec(q), vec(k)) for q, k in zip(queries, keys, strict=True))
    other = sum(torch.outer(vec(q), vec(k)) for q, k in zip(*seen, strict=True))
    spread = torch.kron(p_w, p_h.T.contiguous())
    kronecker = c.T @ spread @ other @ spread.T @ c
    torch.testing.assert_close(kronecker, attn, **EXACT)

    # Ours has the tokens row by row, and a class token before them.
    def rows_first(matrix, size):
        order = torch.arange(h * w).reshape(size[1], size[0]).T.flatten()
        return F.pad(matrix[order][:, order], (1, 0, 1, 0), value=7.0)

    there = tuple(seen[0].shape[-2:])
    got = restore_order(rows_first(other, there), view_permutation(symmetry, grid))
    torch.testing.assert_close(got, rows_first(kronecker, grid), **EXACT)


def test_prefix_tokens_stay_first():
    attn = torch.rand(3, 2, 2 + 6, 2 + 6)
    back = Reordering(view_permutation('rot90', (2, 3)), (2, 3)).attention(attn)
    torch.testing.assert_close(back[..., :2, :2], attn[..., :2, :2], **EXACT)
    for row in range(2):
        there = SYMMETRIES['rot90'](back[..., row, 2:].unflatten(-1, (2, 3)))
        torch.testing.assert_close(there.flatten(-2), attn[..., row, 2:], **EXACT)


def bilinear(source: int, target: int) -> list[list[float]]:
    """Weights by their definition: a triangle as wide as the larger spacing."""
    spacing = source / target
    width = max(1.0, spacing)
    rows = []
    for i in range(target):
        centre = (i + 0.5) * spacing
        row = [max(0.0, 1 - abs(j + 0.5 - centre) / width) for j in range(source)]
        rows.append([value / sum(row) for value in row])
    return rows


CHANGES = [((2, 3), (4, 5)), ((5, 6), (3, 4)), ((2, 7), (5, 3)), ((1, 1), (2, 3))]


@pytest.mark.parametrize(('view', 'grid'), CHANGES)
@pytest.mark.parametrize('prefix', [0, 1, 2])
def test_resampled_attention_by_its_definition(view, grid, prefix):
    (vh, vw), (h, w) = view, grid
    size = prefix + vh * vw
    attn = torch.rand(2, size, size, dtype=torch.float64).softmax(-1)
    down, across = bilinear(vh, h), bilinear(vw, w)
    move = torch.zeros(h * w, vh * vw, dtype=torch.float64)
    for i in range(h * w):
        for j in range(vh * vw):
            move[i, j] = down[i // w][j // vw] * across[i % w][j % vw]
    got = Resampling(view, grid).attention(attn)
    assert got.shape == (2, prefix + h * w, prefix + h * w)
    for n in range(2):
        rows = []
        for row in attn[n]:
            keys = move @ row[prefix:]
            keys = keys * row[prefix:].sum() / keys.sum()
            rows.append(torch.cat([row[:prefix], keys]))
        rows = torch.stack(rows)
        expected = torch.cat([rows[:prefix], move @ rows[prefix:]])
        torch.testing.assert_close(got[n], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(('view', 'grid'), CHANGES)
def test_resampling_keeps_distributions(view, grid):
    size = 1 + view[0] * view[1]
    attn = torch.randn(2, size, size, dtype=torch.float64).softmax(-1)
    change = Resampling(view, grid)
    back = change.attention(attn)
    assert (back >= 0).all()
    torch.testing.assert_close(back.sum(-1), torch.ones_like(back[..., 0]))
    torch.testing.assert_close(back[:, 0, 0], attn[:, 0, 0])
    # Attention that is even over the patches stays even over them.
    even = torch.full((size, size), 0.5 / (size - 1), dtype=torch.float64)
    even[:, 0] = 0.5
    share = 0.5 / (grid[0] * grid[1])
    back = change.attention(even)
    torch.testing.assert_close(back[:, 1:], torch.full_like(back[:, 1:], share))


def test_maps_are_resampled_as_images_are():
    maps = torch.rand(2, 3, 4, 7, dtype=torch.float64)
    for size in ((6, 9), (3, 5)):
        expected = F.interpolate(maps, size, mode='bilinear', antialias=True)
        got = Resampling((4, 7), size).maps(maps)
        torch.testing.assert_close(got, expected)


def test_gradients_of_resampling():
    attn = torch.rand(1, 1 + 6, 1 + 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Resampling((2, 3), (3, 2)).attention, attn)


def test_a_row_without_any_patch_stays_one():
    """All the attention goes to the class token: 0 / 0 is 0."""
    attn = torch.zeros(1, 1 + 6, 1 + 6)
    attn[..., 0] = 1
    back = Resampling((2, 3), (4, 5)).attention(attn)
    assert torch.equal(back[..., 0], torch.ones(1, 21)) and back[..., 1:].sum() == 0


@pytest.mark.parametrize('symmetry', sorted(SYMMETRIES))
def test_maps_and_kept_patches_follow(symmetry):
    grid = (3, 5)
    maps = torch.rand(2, 4, *grid)
    place = Reordering(view_permutation(symmetry, grid), grid)
    assert torch.equal(place.maps(SYMMETRIES[symmetry](maps)), maps)
    keep = torch.tensor([[0, 7, 14, 3], [2, 1, 8, 11]])
    there = SYMMETRIES[symmetry](maps).flatten(2)
    for n in range(2):
        follow = place.follow(keep)[n]
        assert torch.equal(there[n, :, follow], maps.flatten(2)[n, :, keep[n]])


def test_one_move_after_another():
    first, grid = view_permutation('rot90', (2, 3)), (2, 3)
    moves = Moves([Reordering(first, grid), Resampling((4, 3), (3, 2))])
    maps = torch.rand(1, 2, 4, 3, dtype=torch.float64)
    small = F.interpolate(maps, (3, 2), mode='bilinear', antialias=True)
    torch.testing.assert_close(moves.maps(maps), torch.rot90(small, -1, (2, 3)))
    attn = torch.rand(1 + 12, 1 + 12, dtype=torch.float64)
    expected = restore_order(Resampling((4, 3), (3, 2)).attention(attn), first)
    torch.testing.assert_close(moves.attention(attn), expected)
    keep = torch.tensor([[0, 5]])
    assert torch.equal(Moves([]).follow(keep), keep)
    twice = Moves([Reordering(first, grid), Reordering(first.argsort(), (3, 2))])
    assert torch.equal(twice.follow(keep), keep)
    with pytest.raises(ConfigError, match='set drop_patches=0, or leave') as error:
        moves.follow(keep)
    assert '\n' not in str(error.value)
