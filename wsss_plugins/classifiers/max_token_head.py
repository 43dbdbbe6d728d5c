"""Class logits from the largest value of each channel."""

from __future__ import annotations

from torch import Tensor, nn

from wsss_plugins.backbones import Tokens
from wsss_plugins.classifiers.head import TokenHead
from wsss_plugins.registry import MODELS


@MODELS.register_module()
class MaxTokenHead(TokenHead):
    """A linear layer without bias on the largest value that each channel has on a patch.

    The maximum comes before the layer, so that the logits of an image are those of no
    single patch. The same layer on every patch gives the class maps.

    Source: the released codes of Ru et al. (AFA), CVPR 2022, and (ToCo), CVPR 2023.

    Args:
        num_classes: C, foreground classes.
        embed_dims: D, channels of a token.
        init_cfg: mmengine's.
    """

    def __init__(
        self, num_classes: int, embed_dims: int, init_cfg: dict | None = None
    ) -> None:
        super().__init__(num_classes, embed_dims, sources=('patch',), init_cfg=init_cfg)
        self.fc = nn.Linear(embed_dims, num_classes, bias=False)

    def pooled_logits(self, tokens: Tokens) -> Tensor:
        """The logits of the image, ``(N, C)``."""
        return self.fc(tokens.patch.amax((2, 3)))
