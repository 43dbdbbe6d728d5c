"""The random walk that propagates class scores along the affinities of pixels.

A network for the refiner ``refiners/random_walk.py`` implements the protocol
:class:`~wsss_plugins.affinity.sources.FeatureSource` (AffinityNet) or
:class:`~wsss_plugins.affinity.sources.BoundarySource` (IRN).

Sources: Ahn and Kwak (PSA), CVPR 2018, eq. 5 and 6; boundaries: Ahn, Cho and Kwak
(IRN), CVPR 2019, eq. 3 and 8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_plugins.affinity.geometry import BorderRule, pair_mask, pair_offsets
from wsss_plugins.errors import ConfigError, DataError


class Transition:
    """The transition matrix T of a random walk on the pixels of one image.

    ``T = A^beta / column sums``, where A is symmetric with 1 on its diagonal and 0
    between pixels that are no pair, and the power is elementwise. A is kept as P maps of
    entries at fixed offsets, which stand for their mirror images too: one step is 2P
    multiplications of shifted maps, and nothing of size (H W)^2 exists. The work is
    done in float64: 256 steps in float32 would lose up to 2e-5 where a pixel has hardly
    any link, because every step rounds the same way.

    Args:
        affinities: ``(P, H, W)`` floats in [0, 1]: the affinity of every pixel and its
            partner at :func:`~wsss_plugins.affinity.pair_offsets`.
        radius: Radius of the pairs.
        beta: The exponent, > 0: a high one leaves only strong links.
        border: Which of the pairs count, see :data:`BorderRule`.

    Raises:
        DataError: Affinities of another shape, not finite or outside [0, 1].
        ConfigError: Beta or radius out of range, or an unknown border rule.
    """

    def __init__(
        self,
        affinities: Tensor,
        radius: int,
        beta: float = 8.0,
        border: BorderRule = 'irn',
    ) -> None:
        if not beta > 0:
            raise ConfigError(f'beta of a random walk must be > 0, not {beta}')
        self.size = tuple(affinities.shape[-2:])
        pairs = pair_mask(*self.size, radius, border).to(affinities.device)
        if affinities.shape != pairs.shape:
            raise DataError(
                f'pairs of radius {radius} need affinities {tuple(pairs.shape)} on '
                f'this map, not {tuple(affinities.shape)}'
            )
        # One NaN makes both comparisons false.
        kept = affinities.detach().where(pairs, 0)
        if kept.numel() and not (kept.min() >= 0 and kept.max() <= 1):
            raise DataError('affinities must be finite and in [0, 1]: train them again')
        offsets = pair_offsets(radius)
        self._steps = (offsets[:, 0] * self.size[1] + offsets[:, 1]).tolist()
        self._powers = kept.flatten(1).double().pow_(beta)
        ones = self._powers.new_ones(1, kept[0].numel())
        self._sums = self._multiplied(ones, 1, ones)[0]

    @torch.no_grad()
    def walk(self, maps: Tensor, steps: int) -> Tensor:
        """``vec(maps) @ T^steps``: ``steps`` weighted means over neighbours.

        Args:
            maps: ``(C, H, W)`` floats.
            steps: Multiplications with T, >= 0. PSA's ``logt`` and IRN's ``exp_times``
                count squarings: their t is ``2 ** t`` steps.

        Returns:
            ``(C, H, W)`` of the dtype of ``maps``, within the range of each map.

        Raises:
            DataError: ``maps`` are not of the size of the image.
            ConfigError: ``steps`` is negative.
        """
        if maps.ndim != 3 or tuple(maps.shape[1:]) != self.size:
            raise DataError(
                f'the maps are {tuple(maps.shape)} but the affinities {self.size}'
            )
        if steps < 0:
            raise ConfigError(f'steps of a random walk must be >= 0, not {steps}')
        walked = self._multiplied(maps.flatten(1), steps, self._sums)
        return walked.reshape(maps.shape).to(maps.dtype)

    def _multiplied(self, vectors: Tensor, steps: int, sums: Tensor) -> Tensor:
        """``vectors`` ``(C, H W)`` times ``A^beta / sums``, ``steps`` times."""
        margin, count = max(self._steps), vectors.shape[1]
        now = self._powers.new_zeros(len(vectors), count + 2 * margin)
        new = torch.zeros_like(now)
        here = slice(margin, margin + count)
        now[:, here] = vectors
        # A shift wraps from one row into the next; the affinity of such pixels is 0.
        views = [
            (power, slice(margin + step, margin + step + count))
            for power, step in zip(self._powers, self._steps, strict=True)
        ]
        for _ in range(steps):
            new.copy_(now)  # the diagonal
            for power, there in views:
                new[:, here].addcmul_(now[:, there], power)
                new[:, there].addcmul_(now[:, here], power)
            torch.div(new[:, here], sums, out=now[:, here])
        return now[:, here]

    def to_dense(self) -> Tensor:
        """T as a float64 matrix ``(H W, H W)`` whose columns sum to 1, for small maps."""
        count = len(self._sums)
        first = torch.arange(count, device=self._sums.device)
        matrix = torch.eye(count, dtype=self._sums.dtype, device=first.device)
        for step, power in zip(self._steps, self._powers, strict=True):
            linked = first[power > 0]
            matrix[linked, linked + step] = power[linked]
            matrix[linked + step, linked] = power[linked]
        return matrix / self._sums
