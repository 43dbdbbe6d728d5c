"""The loss of AffinityNet: high affinity within a class, low affinity across classes.

Source: Ahn and Kwak, "Learning Pixel-level Semantic Affinity with Image-level
Supervision" (PSA), CVPR 2018, eqs. 5 to 7, with the weights of its released code.
"""

from __future__ import annotations

from torch import Tensor, nn

from wsss_plugins.registry import MODELS


@MODELS.register_module()
class AffinityLoss(nn.Module):
    """Cross entropy of pair affinities, a mean for each of three kinds of pairs.

    Each mean runs over the pairs of its kind in the whole batch, so that the many
    background pairs do not outweigh the others.

    Args:
        background: Weight of pairs of two background pixels.
        foreground: Weight of pairs of one object class.
        negative: Weight of pairs of different classes. The defaults are a quarter of
            eq. 7, as in the released code.
        eps: Added to every logarithm's argument and every count.
    """

    def __init__(
        self,
        background: float = 0.25,
        foreground: float = 0.25,
        negative: float = 0.5,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.background = background
        self.foreground = foreground
        self.negative = negative
        self.eps = eps

    def forward(
        self, affinities: Tensor, bg_pos: Tensor, fg_pos: Tensor, neg: Tensor
    ) -> dict[str, Tensor]:
        """Compares predicted affinities with the kind of each pair.

        Args:
            affinities: ``(N, P, F)`` in [0, 1].
            bg_pos: The same shape, bool: two pixels of background.
            fg_pos: The same shape, bool: two pixels of one object class.
            neg: The same shape, bool: two pixels of different classes. A pair that is
                none of the three is ignored.

        Returns:
            ``loss_bg``, ``loss_fg`` and ``loss_neg``, weighted; the loss is their sum.
        """
        alike = -(affinities + self.eps).log()
        unlike = -(1 + self.eps - affinities).log()
        return dict(
            loss_bg=self.background * self._mean(alike, bg_pos),
            loss_fg=self.foreground * self._mean(alike, fg_pos),
            loss_neg=self.negative * self._mean(unlike, neg),
        )

    def _mean(self, costs: Tensor, pairs: Tensor) -> Tensor:
        pairs = pairs.to(costs)
        return (costs * pairs).sum() / (pairs.sum() + self.eps)
