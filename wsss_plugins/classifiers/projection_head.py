"""The head that embeds class tokens of crops, to be contrasted.

Source: Ru et al., "Token Contrast for Weakly-Supervised Semantic Segmentation" (ToCo), CVPR
2023, with the layers of its code, which are those of DINO (Caron et al., ICCV 2021).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from wsss_plugins.registry import MODELS


@MODELS.register_module()
class ProjectionHead(BaseModule):
    """Three linear layers with GELU, a unit vector, and directions of length 1.

    Args:
        embed_dims: D, channels of a class token.
        hidden: Channels between the layers.
        bottleneck: Channels of the unit vector.
        out: Number of directions.
        init_cfg: mmengine's.
    """

    def __init__(
        self,
        embed_dims: int,
        hidden: int = 2048,
        bottleneck: int = 256,
        out: int = 1024,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        first, second = nn.Linear(embed_dims, hidden), nn.Linear(hidden, hidden)
        last = nn.Linear(hidden, bottleneck)
        self.mlp = nn.Sequential(first, nn.GELU(), second, nn.GELU(), last)
        for layer in (first, second, last):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        # Lengths are not trained in a student, but a teacher averages them too.
        self.register_buffer('lengths', torch.ones(out, 1))
        self.directions = nn.Parameter(torch.empty(out, bottleneck))
        nn.init.trunc_normal_(self.directions, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings ``(N, out)`` of class tokens ``(N, D)``."""
        units = F.normalize(self.mlp(tokens), dim=-1, eps=1e-12)
        long = self.directions.norm(dim=1, keepdim=True)
        return units @ (self.lengths * self.directions / long).T
