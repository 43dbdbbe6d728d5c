"""The loss of displacement fields: one centre for all pixels of an object.

Source: Ahn, Cho and Kwak, "Weakly Supervised Learning of Instance Segmentation with
Inter-pixel Relations" (IRN), CVPR 2019, eqs. 4 to 6, with the weights of its released code.
"""

from __future__ import annotations

from torch import Tensor, nn

from wsss_plugins.registry import MODELS


@MODELS.register_module()
class DisplacementLoss(nn.Module):
    """L1 loss of the differences of displacements between the pixels of pairs.

    If two pixels of one object point to the same centre, their displacements differ by
    their distance. Two pixels of background have equal displacements.

    Args:
        background: Weight of pairs of two background pixels.
        foreground: Weight of pairs of one object class. The defaults are those of the
            released code.
        eps: Added to every count.
    """

    def __init__(
        self, background: float = 0.5, foreground: float = 0.5, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.background = background
        self.foreground = foreground
        self.eps = eps

    def forward(
        self, differences: Tensor, offsets: Tensor, bg_pos: Tensor, fg_pos: Tensor
    ) -> dict[str, Tensor]:
        """Compares the differences of displacements with the kind of each pair.

        Args:
            differences: ``(N, 2, P, F)``: the displacement (rows, columns) of the pixel
                minus that of its partner.
            offsets: ``(P, 2)``: rows and columns from the pixel to its partner.
            bg_pos: ``(N, P, F)`` bool: two pixels of background.
            fg_pos: ``(N, P, F)`` bool: two pixels of one object class.

        Returns:
            ``loss_dp_bg`` and ``loss_dp_fg``, weighted; the loss is their sum.
        """
        target = offsets.T[..., None].to(differences)
        return dict(
            loss_dp_bg=self.background * self._mean(differences, bg_pos),
            loss_dp_fg=self.foreground * self._mean(differences - target, fg_pos),
        )

    def _mean(self, errors: Tensor, pairs: Tensor) -> Tensor:
        pairs = pairs.to(errors)
        total = (errors.abs() * pairs.unsqueeze(1)).sum()
        return total / (2 * pairs.sum() + self.eps)
