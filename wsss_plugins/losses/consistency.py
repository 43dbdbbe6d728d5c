"""All-pairs consistency: the attention of two views of an image should agree.

Source: Sun et al., All-pairs Consistency Learning for Weakly Supervised Semantic
Segmentation (ACR), 2023, eqs. 1 to 6, and its released code; the differences between
the two are listed in docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from wsss_plugins.blocks import block_index
from wsss_plugins.errors import ConfigError
from wsss_plugins.losses.distances import check_weight, distance_named
from wsss_plugins.registry import MODELS

HEADS = ('mean', 'each')


@MODELS.register_module()
class AttentionConsistencyLoss(nn.Module):
    """Region activation and region affinity consistency of ACR.

    ``L_act`` compares the class tokens' rows over the patches, ``L_aff`` the
    patch-to-patch block; both are means over batch, blocks and entries of the attention.
    Gradients flow into both views.

    Args:
        activation_weight: alpha of eq. 6; 0 switches ``L_act`` off.
        affinity_weight: beta of eq. 6; 0 switches ``L_aff`` off.
        distance: ``'l1'`` (the paper), ``'l2'`` or ``'smooth_l1'`` (its table 8).
        blocks: Indices of the blocks that are compared, from 0; negative indices count
            from the last block. By default all blocks.
        heads: ``'mean'`` compares the mean over heads, as the released code does;
            ``'each'`` compares every head with the same head of the other view.

    Raises:
        ConfigError: The distance is unknown, a weight is negative, ``blocks`` is empty,
            or ``heads`` is unknown.
    """

    def __init__(
        self,
        activation_weight: float = 100.0,
        affinity_weight: float = 100.0,
        distance: str = 'l1',
        blocks: Sequence[int] | None = None,
        heads: str = 'mean',
    ) -> None:
        super().__init__()
        self.distance = distance_named(distance)
        check_weight('activation_weight', activation_weight)
        check_weight('affinity_weight', affinity_weight)
        if heads not in HEADS:
            raise ConfigError(
                f'heads must be one of {HEADS}, not {heads!r}', token='heads'
            )
        if blocks is not None and not _is_list_of_blocks(blocks):
            raise ConfigError(
                'blocks must be a list of block numbers such as [-2, -1], or None for '
                f'all, not {blocks!r}',
                token='blocks',
            )
        self.activation_weight = activation_weight
        self.affinity_weight = affinity_weight
        self.blocks = None if blocks is None else tuple(blocks)
        self.heads = heads

    @property
    def needs_attention(self) -> bool:
        """Whether any term has a weight above 0."""
        return bool(self.activation_weight or self.affinity_weight)

    def blocks_of(self, count: int) -> list[int]:
        """The blocks that are compared, in order.

        Args:
            count: Number of blocks of the backbone.

        Raises:
            ConfigError: ``blocks`` names a block that the backbone does not have, or
                one block twice.
        """
        if self.blocks is None:
            return list(range(count))
        chosen = sorted({block_index(b, count, 'blocks') for b in self.blocks})
        if len(chosen) < len(self.blocks):
            raise ConfigError(
                f'blocks {list(self.blocks)} name one of {count} blocks twice',
                token='blocks',
            )
        return chosen

    def forward(
        self,
        attn: Tensor,
        other: Tensor,
        num_prefix: int = 1,
        num_class_tokens: int = 1,
    ) -> dict[str, Tensor]:
        """Compares two stacks of attention whose tokens are in the same order.

        Args:
            attn: Attention of the image in the blocks of :meth:`blocks_of`, ``(L, N, T,
                T)`` averaged over heads, or ``(L, N, heads, T, T)``.
            other: Attention of the view, its patches re-ordered as in the image.
            num_prefix: Number of prefix tokens before the patch tokens.
            num_class_tokens: Number of class tokens, the first of the prefix tokens.

        Returns:
            ``loss_act`` and ``loss_aff``, weighted; a term of weight 0 is left out.
        """
        c, p = num_class_tokens, num_prefix
        losses = {}
        if self.activation_weight:
            gap = self.distance(attn[..., :c, p:], other[..., :c, p:])
            losses['loss_act'] = self.activation_weight * gap
        if self.affinity_weight:
            gap = self.distance(attn[..., p:, p:], other[..., p:, p:])
            losses['loss_aff'] = self.affinity_weight * gap
        return losses


def _is_list_of_blocks(blocks: object) -> bool:
    return (
        isinstance(blocks, Sequence)
        and len(blocks) > 0
        and all(type(block) is int for block in blocks)
    )
