"""The head of a timm model that pools its tokens, by their mean or by attention."""

from __future__ import annotations

import torch
from timm.layers import AttentionPoolLatent, RmsNorm
from torch import Tensor, nn

from wsss_plugins.backbones import Tokens
from wsss_plugins.backbones.explicit_pooling import ExplicitPooling
from wsss_plugins.classifiers.head import TokenHead
from wsss_plugins.errors import ConfigError
from wsss_plugins.lrp import Mean


class PooledHead(TokenHead):
    """A linear head on pooled tokens: their mean, or what a latent query attends to.

    The logits of a patch are those that the image would have if

    - by the mean: the norm after the pooling divided the patch by the deviation of the
      pooled token. The mean of the patches' logits is then the logit of the image, so that
      :class:`~wsss_plugins.seeds.CAM` splits it among the patches.
    - by attention: the patch were the only token, so that it has all the attention.

    Sources: Zhou et al., Learning Deep Features for Discriminative Localization, 2016, for
    the mean; Zhou et al., Extract Free Dense Labels from CLIP, 2022, section 3.2, for
    attention (the values of the pooling without its queries and keys).

    Args:
        fc: The linear layer.
        norm: The norm between pooling and ``fc``.
        pool: timm's attention pooling, or None for the mean.
        prefix: Whether prefix tokens are pooled too.
        single_label: Whether the probabilities are a softmax, rather than sigmoids.

    Raises:
        ConfigError: The norm after a mean is of a type that is not known.
    """

    def __init__(
        self,
        fc: nn.Linear,
        norm: nn.Module,
        pool: AttentionPoolLatent | None = None,
        prefix: bool = False,
        single_label: bool = True,
    ) -> None:
        super().__init__(fc.out_features, fc.in_features, sources=('patch',))
        if pool is None and not isinstance(norm, (nn.Identity, nn.LayerNorm, RmsNorm)):
            raise ConfigError(
                f'the norm {type(norm).__name__} after the pooling is not known: name '
                'another model'
            )
        self.fc, self.norm, self.pool = fc, norm, pool
        self.prefix, self.single_label = prefix or pool is not None, single_label
        self.pooling = 'mean' if pool is None else 'attention'

    def pooled_logits(self, tokens: Tokens) -> Tensor:
        """The logits of the model, ``(N, C)``."""
        return self.fc(self.norm(self._pooled(tokens)))

    def explicit(self) -> ExplicitPooledHead:
        """See :meth:`TokenHead.explicit`.

        Raises:
            UserError: The attention pooling is of a kind that is not known.
        """
        return ExplicitPooledHead(self)

    def patch_logits(self, tokens: Tokens) -> Tensor:
        """The logits of every patch, ``(N, C, h, w)``."""
        patch = tokens.patch.movedim(1, -1)  # (N, h, w, D)
        if self.pool is not None:
            alone = self.pool(patch.reshape(-1, 1, patch.shape[-1]))
            logits = self.fc(self.norm(alone)).view(*patch.shape[:-1], -1)
        else:
            pooled = self._pooled(tokens)[:, None, None]
            logits = self.fc(normed_as(self.norm, patch, pooled))
        return logits.movedim(-1, 1)

    def scores(self, tokens: Tokens) -> Tensor:
        """Probability of each class, ``(N, C)``."""
        logits = self.class_logits(tokens)
        return logits.softmax(1) if self.single_label else logits.sigmoid()

    def _pooled(self, tokens: Tokens) -> Tensor:
        """The pooled token, ``(N, D)``."""
        sequence = sequence_of(tokens, self.prefix)
        return sequence.mean(1) if self.pool is None else self.pool(sequence)


class ExplicitPooledHead(nn.Module):
    """A :class:`PooledHead` with a module for every operation, sharing the weights.

    Args:
        head: The head.

    Raises:
        UserError: The attention pooling is of a kind that is not known.
    """

    def __init__(self, head: PooledHead) -> None:
        super().__init__()
        self.prefix = head.prefix
        self.pool = Mean() if head.pool is None else ExplicitPooling(head.pool)
        self.norm, self.fc = head.norm, head.fc

    def forward(self, tokens: Tokens) -> tuple[Tensor, list[Tensor]]:
        """See :meth:`TokenHead.explicit`."""
        found = self.pool(sequence_of(tokens, self.prefix))
        pooled, *attn = (found,) if isinstance(found, Tensor) else found
        return self.fc(self.norm(pooled)), attn


def sequence_of(tokens: Tokens, prefix: bool) -> Tensor:
    """Tokens as one sequence, ``(N, P + n, D)`` with prefix tokens, else ``(N, n, D)``."""
    patch = tokens.patch.flatten(2).transpose(1, 2)
    return torch.cat([tokens.prefix, patch], 1) if prefix else patch


def normed_as(norm: nn.Module, x: Tensor, pooled: Tensor) -> Tensor:
    """A norm of ``x`` with the deviation of another token, and so linear in ``x``.

    Args:
        norm: A LayerNorm, an RMS norm, or nothing.
        x: ``(..., D)``.
        pooled: ``(..., D)``, the token whose deviation divides.

    Returns:
        ``(..., D)``; for ``x`` as ``pooled`` it is ``norm(pooled)``.
    """
    if isinstance(norm, nn.LayerNorm):
        deviation = (pooled.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        x = (x - x.mean(-1, keepdim=True)) / deviation
    elif isinstance(norm, RmsNorm):
        x = x / (pooled.square().mean(-1, keepdim=True) + norm.eps).sqrt()
    else:
        return x
    weight, bias = norm.weight, getattr(norm, 'bias', None)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias
