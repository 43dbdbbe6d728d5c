"""The loss of affinities that are read from attention.

Source: Ru et al., "Learning Affinity from Attention: End-to-End Weakly-Supervised Semantic
Segmentation with Transformers" (AFA), CVPR 2022, eq. 6, with the counts of its code.
"""

from __future__ import annotations

from torch import Tensor, nn

from wsss_plugins.losses.token_contrast import check_form, pair_means
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class AttentionAffinityLoss(nn.Module):
    """Linear costs of affinities, one mean for equal and one for different pairs.

    ``0.5 sum (1 - a) / (count + 1)`` over equal pairs plus ``0.5 sum a / (count + 1)`` over
    different pairs of the whole batch. Pairs of background are equal, and a cell is a pair
    with itself. A batch without pairs gives 0.

    Args:
        loss_weight: Factor of the loss; AFA has 0.1.
        form: ``'released'``, as above; ``'paper'`` has neither the factors 0.5 nor the 1
            in the counts.

    Raises:
        ConfigError: ``form`` is unknown.
    """

    def __init__(self, loss_weight: float = 0.1, form: str = 'released') -> None:
        super().__init__()
        self.loss_weight, self.form = loss_weight, check_form(form)

    def forward(self, affinities: Tensor, pairs: Tensor) -> Tensor:
        """Compares affinities with the kind of each pair.

        Args:
            affinities: ``(N, P, P)`` in [0, 1].
            pairs: ``(N, P, P)`` of :func:`equal_pairs`: 1 equal, 0 different, 255 neither.

        Returns:
            A scalar >= 0.
        """
        released = self.form == 'released'
        same, different = pair_means(1 - affinities, affinities, pairs, float(released))
        return self.loss_weight * (0.5 if released else 1.0) * (same + different)
