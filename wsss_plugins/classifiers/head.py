"""Class logits from tokens."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from wsss_plugins.backbones import TokenBackbone, Tokens
from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS

SOURCES = ('class', 'patch')


def pool_top(maps: Tensor, fraction: float) -> Tensor:
    """Mean of the largest values of each map.

    ``fraction`` 1 is global average pooling, a fraction near 0 is global max pooling. A
    fraction in between averages the patches with the highest logits, which are mostly
    those of the object; average pooling would include the background.

    Args:
        maps: ``(N, C, h, w)``.
        fraction: Share of the ``h * w`` values to average, in (0, 1].

    Returns:
        ``(N, C)``.
    """
    flat = maps.flatten(2)
    count = max(1, round(fraction * flat.shape[2]))
    return flat.topk(count, dim=2).values.mean(2)


@MODELS.register_module()
class TokenHead(BaseModule):
    """Linear classifiers on the class token and on the patch tokens.

    Attributes:
        pooling: How one token is made of all tokens before it is classified, ``'mean'`` or
            ``'attention'``; empty where the logits of single tokens are read or pooled.

    Args:
        num_classes: C, foreground classes.
        embed_dims: D, channels of a token.
        sources: Sources of the logits of the image: ``'class'`` (the first prefix
            token), ``'patch'`` (pooled patch logits) or both; each source has its own
            loss. A backbone without class token, such as a CNN, needs ``('patch',)``.
        shared: Whether class token and patch tokens share one weight, as in the
            released ACR code, where the patch logits are read and never trained. By
            default each source has its own weight.
        pool_fraction: Share of the patches that are averaged; see :func:`pool_top`.

    Raises:
        ConfigError: A source is unknown, or a weight would get no gradient from any
            loss.
    """

    pooling: str = ''

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        sources: tuple[str, ...] = ('class', 'patch'),
        shared: bool = False,
        pool_fraction: float = 0.2,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        wrong = [s for s in sources if s not in SOURCES]
        if wrong or not sources:
            raise ConfigError(
                f'sources must be some of {SOURCES}, not {tuple(sources)}',
                token='sources',
            )
        if not shared and 'patch' not in sources:
            raise ConfigError(
                f'with sources {tuple(sources)} the weights of the patch logits would '
                'stay untrained: use both sources, or shared=True',
                token='sources',
            )
        if not 0 < pool_fraction <= 1:
            raise ConfigError(
                f'pool_fraction must be in (0, 1], not {pool_fraction}',
                token='pool_fraction',
            )
        self.num_classes = num_classes
        self.sources = tuple(sources)
        self.pool_fraction = pool_fraction
        self.fc = nn.Linear(embed_dims, num_classes)
        one = shared or len(self.sources) == 1
        self.patch_fc = None if one else nn.Linear(embed_dims, num_classes)

    @property
    def reads_class_token(self) -> bool:
        """Whether :meth:`class_logits` come from the class token."""
        return 'class' in self.sources

    def class_logits(self, tokens: Tokens) -> Tensor:
        """Logits of the class token ``(N, C)``; pooled with ``sources=('patch',)``."""
        if not self.reads_class_token:
            return self.pooled_logits(tokens)
        return self.fc(tokens.prefix[:, 0])

    def explicit(self) -> nn.Module:
        """The head with a module for every operation, for relevance propagation.

        Returns:
            A module that shares the weights. It maps :class:`Tokens` to the logits
            ``(N, C)`` of :meth:`class_logits`, and a list with the attention
            ``(N, heads, 1, P + n)`` by which a query pools the tokens; here it is empty.
        """
        return _LogitsAlone(self)

    def pooled_logits(self, tokens: Tokens) -> Tensor:
        """Patch logits pooled over the image, ``(N, C)``."""
        return pool_top(self.patch_logits(tokens), self.pool_fraction)

    def patch_logits(self, tokens: Tokens) -> Tensor:
        """Logits of every patch token, ``(N, C, h, w)``."""
        fc = self.patch_fc if self.patch_fc is not None else self.fc
        return fc(tokens.patch.movedim(1, -1)).movedim(-1, 1)

    def check_backbone(self, backbone: TokenBackbone, drop_patches: float = 0) -> None:
        """Refuses a backbone whose tokens this head cannot read.

        Args:
            backbone: The backbone.
            drop_patches: Share of the patches that training leaves out.

        Raises:
            ConfigError: The backbone has no class token that ``sources`` asks for, or
                one class token per class.
        """
        name = type(backbone).__name__
        if self.reads_class_token and not backbone.has_class_token:
            raise ConfigError(
                f'{name} has no class token{_registers(backbone)}, and the head reads one: '
                "set the head's "
                "sources=('patch',)",
                token='sources',
            )
        if self.reads_class_token and backbone.num_class_tokens > 1:
            raise ConfigError(
                f'{name} has a token for each class, and {type(self).__name__} reads one '
                'for all: take MCTHead',
                token='head',
            )

    def extra_losses(self, tokens: Tokens, labels: Tensor) -> dict[str, Tensor]:
        """Losses of the head in addition to the classification losses; none by default.

        Args:
            tokens: Tokens of the backbone.
            labels: ``(N, C)`` in {0, 1}.
        """
        return {}

    def forward(self, tokens: Tokens) -> dict[str, Tensor]:
        """Image logits ``(N, C)`` of each source."""
        logits = {}
        if 'class' in self.sources:
            logits['class'] = self.class_logits(tokens)
        if 'patch' in self.sources:
            logits['patch'] = self.pooled_logits(tokens)
        return logits

    def scores(self, tokens: Tokens) -> Tensor:
        """Probability of each class, ``(N, C)``: sigmoid of the mean logit of the sources."""
        return torch.stack(list(self(tokens).values())).mean(0).sigmoid()


class _LogitsAlone(nn.Module):
    """A head whose operations between the tokens and the logits are modules."""

    def __init__(self, head: TokenHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, tokens: Tokens) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`TokenHead.explicit`."""
        return self.head.class_logits(tokens), []


def _registers(backbone: TokenBackbone) -> str:
    count = backbone.num_prefix
    return f' (its {count} prefix tokens are registers)' if count else ''
