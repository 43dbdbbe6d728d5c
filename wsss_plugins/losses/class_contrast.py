"""A loss that makes the class tokens of one image differ from one another."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wsss_plugins.errors import ConfigError
from wsss_plugins.losses.attribute import at_least_float32
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class ClassContrastLoss(nn.Module):
    """Cross entropy of the cosines of each class token to all, with itself as target.

    For each class that an image shows, the logits are the cosines of its token to the C
    class tokens, and the target is the token itself. Its own cosine is 1, so only
    dissimilar tokens lower the loss. The mean runs over the present classes, then over
    layers and images.

    Source: the contrastive class token loss of Xu et al., MCTformer+: Multi-Class Token
    Transformer for Weakly Supervised Semantic Segmentation, 2023, as its released code
    has it, without temperature.

    Args:
        weight: Factor of the loss, >= 0.
        temperature: Divisor of the cosines, > 0.

    Raises:
        ConfigError: ``weight`` is below 0, or ``temperature`` is 0 or less.
    """

    def __init__(self, weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__()
        if weight < 0 or temperature <= 0:
            raise ConfigError(
                'ClassContrastLoss needs weight >= 0 and temperature > 0, not '
                f'{weight} and {temperature}',
                token='weight' if weight < 0 else 'temperature',
            )
        self.weight = weight
        self.temperature = temperature

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Compares the class tokens of each layer.

        Args:
            tokens: ``(L, N, C, D)``, the token of class c at index c.
            labels: ``(N, C)`` in {0, 1}.

        Returns:
            The weighted loss, a scalar >= 0; images without any class add 0 to the mean.
        """
        unit = F.normalize(at_least_float32(tokens), dim=-1)
        cosines = unit @ unit.mT / self.temperature  # (L, N, C, C)
        own = -cosines.log_softmax(-1).diagonal(dim1=-2, dim2=-1)  # (L, N, C)
        labels = labels.to(own)
        per_image = (own * labels).sum(-1) / (labels.sum(-1) + 1e-8)
        return self.weight * per_image.mean()
