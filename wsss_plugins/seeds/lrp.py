"""Layer-wise relevance propagation as a map: to the pixels, or to one block's attention."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError
from wsss_plugins.lrp import Composite
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import patch_grid
from wsss_plugins.seeds.relevance import RelevanceHead, check_reaches_attention


@SEED_HEADS.register_module()
class FullLRP(RelevanceHead):
    """Relevance of the pixels, summed over the channels; signed.

    Source: Binder et al., Layer-wise Relevance Propagation for Neural Networks with Local
    Renormalization Layers, 2016, as the baseline 'LRP' of Chefer et al., Transformer
    Interpretability Beyond Attention Visualization, 2021.

    Args:
        rules: See :class:`RelevanceHead`.
        kwargs: See :class:`PerClassHead`.
    """

    poolings: ClassVar[tuple[str, ...]] = ('mean', 'attention')

    def __init__(self, rules: str | Composite = 'chefer_lrp', **kwargs: Any) -> None:
        super().__init__(rules, None, **kwargs)

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The relevance of every pixel for each class, ``(K, N, H, W)``."""
        back = trace.backward(self.scores(model, trace), slots, [trace.images])
        return torch.stack([pixels.sum(1) for (pixels,) in back])


@SEED_HEADS.register_module()
class AttnLRP(FullLRP):
    """Relevance of the pixels by the rules of AttnLRP.

    Source: Achtibat et al., AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for
    Transformers, 2024, sec. 3.

    Args:
        rules: See :class:`RelevanceHead`.
        kwargs: See :class:`PerClassHead`.
    """

    def __init__(self, rules: str | Composite = 'attnlrp', **kwargs: Any) -> None:
        super().__init__(rules, **kwargs)


@SEED_HEADS.register_module()
class CPLRP(FullLRP):
    """Relevance of the pixels with the attention matrices held constant.

    Source: Ali et al., XAI for Transformers: Better Explanations through Conservative
    Propagation, 2022, sec. 4, with the linear rules of Achtibat et al., 2024.

    Args:
        rules: See :class:`RelevanceHead`.
        kwargs: See :class:`PerClassHead`.
    """

    def __init__(self, rules: str | Composite = 'cp_lrp', **kwargs: Any) -> None:
        super().__init__(rules, **kwargs)


@SEED_HEADS.register_module()
class PartialLRP(RelevanceHead):
    """Positive relevance of the class token's attention in one block.

    Source: Voita et al., Analyzing Multi-Head Self-Attention, 2019, as the baseline
    'partial LRP' of Chefer et al., 2021.

    In a model with attention pooling the query of the pooling stands for the class token,
    and the pooling, which alone has its row, is the last block.

    Args:
        block: Index of the block: -1 is the last block, as in the paper, 1 is its
            'second layer'. A model with attention pooling takes -1 alone.
        ablation: Whether the relevance is multiplied by the gradient of the class's
            logit before negative values are removed.
        rules: See :class:`RelevanceHead`.
        kwargs: See :class:`PerClassHead`.

    Raises:
        ConfigError: By ``rules`` the attention gets no relevance.
    """

    poolings: ClassVar[tuple[str, ...]] = ('attention',)

    def __init__(
        self,
        block: int = -1,
        ablation: bool = False,
        rules: str | Composite = 'chefer_lrp',
        **kwargs: Any,
    ) -> None:
        super().__init__(rules, block, **kwargs)
        check_reaches_attention(self.rules, type(self).__name__)
        self.ablation = ablation

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a block without a row that the class is read from.

        Raises:
            ConfigError: The model pools by attention, and ``block`` is not -1.
            UserError: The head cannot compute maps for this model.
        """
        super().check_model(model)
        if model.head.pooling and self.start_block != -1:
            raise ConfigError(
                f'PartialLRP reads the row of one query, and the query of this attention '
                f'pooling has none in block {self.start_block}: give block=-1, the pooling',
                token='block',
            )

    def slot_maps(self, model: WSSSClassifier, trace: Trace, slots: Tensor) -> Tensor:
        """The relevance of the class token's attention, ``(K, N, h, w)``."""
        scores, pooling = self.read(model, trace)
        back = trace.backward(scores, slots, pooling or trace.attn[:1])
        values = [relevance[:, :, 0] for (relevance,) in back]  # (N, heads, T) each
        if self.ablation:
            gradients = self._gradients(model, trace, slots)
            values = [v * g for v, g in zip(values, gradients, strict=True)]
        rows = torch.stack([value.clamp(min=0).mean(1) for value in values])
        return patch_grid(rows[..., trace.num_prefix :], trace)

    @staticmethod
    def _gradients(model: WSSSClassifier, trace: Trace, slots: Tensor) -> list[Tensor]:
        """The class token's rows of the gradient by the attention of the block."""
        with capture(model.backbone, trace.images, gradients=True) as plain:
            logits, pooling = model.head.explicit()(plain.tokens)
            attn = pooling or [plain.attn[-len(trace.attn)]]
            return [g[:, :, 0] for (g,) in plain.backward(logits, slots, attn)]
