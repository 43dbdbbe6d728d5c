"""A convolutional stem for vision transformers that learn from little data."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from wsss_plugins.errors import ConfigError


class ConvStem(nn.Module):
    """Strided 3x3 convolutions with batch norm instead of one patch projection.

    Small transformers trained from scratch converge faster with such a stem (Xiao et
    al., Early Convolutions Help Transformers See Better, 2021). The stem replaces
    timm's ``PatchEmbed`` and has the same attributes.

    Args:
        img_size: Side or ``(H, W)`` that the position embeddings are made for.
        patch_size: Stride of the stem, a power of two >= 2.
        in_chans: Channels of the image.
        embed_dim: Channels of a token.
        kwargs: Other arguments that timm passes to a patch embedding; they are ignored.

    Raises:
        ConfigError: ``patch_size`` is no power of two.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 64,
        patch_size: int = 8,
        in_chans: int = 3,
        embed_dim: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        steps = patch_size.bit_length() - 1
        if patch_size < 2 or 2**steps != patch_size:
            raise ConfigError(
                f'the patch size of a ConvStem must be 2, 4, 8 ..., not {patch_size}',
                token='patch_size',
            )
        size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        self.img_size = size
        self.patch_size = (patch_size, patch_size)
        self.grid_size = (size[0] // patch_size, size[1] // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.strict_img_size = False
        layers: list[nn.Module] = []
        channels = in_chans
        for step in range(steps):
            width = embed_dim // 2 ** (steps - 1 - step)
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
                self.norm(width),
                nn.ReLU(inplace=True),
            ]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.proj = nn.Conv2d(channels, embed_dim, 1)

    def norm(self, channels: int) -> nn.Module:
        """The norm after a convolution."""
        return nn.BatchNorm2d(channels)

    def feat_ratio(self, as_scalar: bool = True) -> int | tuple[int, int]:
        """Pixels per token, as in timm's patch embeddings."""
        return self.patch_size[0] if as_scalar else self.patch_size

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(N, 3, H, W)`` to tokens ``(N, h * w, D)``, row-major."""
        return self.proj(self.layers(images)).flatten(2).transpose(1, 2)


class GroupConvStem(ConvStem):
    """A :class:`ConvStem` with group norm, which does not mix the images of a batch.

    Training with several workers then equals training with one worker and the same
    global batch.
    """

    def norm(self, channels: int) -> nn.Module:
        """Eight groups, or as many of them as divide the channels."""
        return nn.GroupNorm(math.gcd(8, channels), channels)


STEMS = {'conv': ConvStem, 'conv_group': GroupConvStem}
"""What ``stem=`` of a :class:`TimmViT` may be, besides timm's own ``'patch'``."""
