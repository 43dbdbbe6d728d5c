"""The class-specific maps of MCTformer."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.affinity import spread_along
from wsss_plugins.seeds.base import SeedHead, patch_grid

FUSIONS = ('product', 'sqrt', 'mct', 'patchcam')
REDUCTIONS = ('sum', 'mean')


@SEED_HEADS.register_module()
class MCTformerMap(SeedHead):
    """How each class's own token attends to the patches, times the class's patch logits.

    ===========  ==============================================  =========================
    MCTformer    maps                                            released settings
    ===========  ==============================================  =========================
    V1           ``fuse='mct'``: attention alone                 ``layers=3``
    V2           ``'product'``: attention times CAM+             ``layers=3``
    plus         ``'sqrt'``: the root of that                    ``layers=12``, ``'mean'``
    (either)     ``'patchcam'``: CAM+ alone
    ===========  ==============================================  =========================

    The attention is the mean over heads, CAM+ the positive patch logits. The maps are
    then propagated along the patch-to-patch attention of all blocks.

    Source: Xu et al., Multi-class Token Transformer for Weakly Supervised Semantic
    Segmentation, 2022, and Xu et al., MCTformer+, 2023, in the version of their
    released codes, where the affinity is a sum over blocks; the papers take the mean.

    Args:
        fuse: See above.
        layers: Number of last blocks whose attention is read.
        reduce: Whether the attention of these blocks is added (V1, V2) or averaged
            (plus), which only changes the scale.
        refine: Whether to propagate the maps along the attention.

    Raises:
        ConfigError: ``fuse`` or ``reduce`` is unknown, or ``layers`` is less than 1.
    """

    needs_class_token = True
    follows_class_tokens = True

    def __init__(
        self,
        fuse: str = 'product',
        layers: int = 3,
        reduce: str = 'sum',
        refine: bool = True,
    ) -> None:
        super().__init__()
        if fuse not in FUSIONS:
            raise ConfigError(
                f'fuse must be one of {FUSIONS}, not {fuse!r}', token='fuse'
            )
        if reduce not in REDUCTIONS or layers < 1:
            raise ConfigError(
                f'MCTformerMap needs reduce of {REDUCTIONS} and layers >= 1, not '
                f'{reduce!r} and {layers}',
                token='layers' if layers < 1 else 'reduce',
            )
        self.fuse = fuse
        self.layers = layers
        self.reduce = reduce
        self.refine = refine

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a model without a token for each class, or with too few blocks.

        Raises:
            UserError: The model has another number of class tokens than classes, no
                patch logits that ``fuse`` needs, or fewer blocks than ``layers``.
        """
        super().check_model(model)
        backbone, head = model.backbone, model.head
        if backbone.num_class_tokens != model.num_classes:
            raise UserError(
                f'MCTformerMap reads a token for each of {model.num_classes} classes, and '
                f'{type(backbone).__name__} has {backbone.num_class_tokens}: train a '
                'MultiClassTokenViT (configs/mctformer), or take '
                'GenericAttentionRelevance'
            )
        if self.fuse != 'mct' and 'patch' not in head.sources:
            raise ConfigError(
                f"fuse='{self.fuse}' reads patch logits, which a head with "
                "sources=('class',), MCTformer V1, does not have: set fuse='mct'",
                token='fuse',
            )
        depth = len(backbone.attention_modules())
        if self.layers > depth:
            raise ConfigError(
                f'layers={self.layers} of the {depth} blocks cannot be read: give 1 to '
                f'{depth}',
                token='layers',
            )

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """The fused maps of every class, ``(N, C, h, w)``."""
        maps = self._fused(model, trace)
        return spread_along(maps, trace.patch_affinity()) if self.refine else maps

    def _fused(self, model: WSSSClassifier, trace: Trace) -> Tensor:
        if self.fuse == 'mct':
            return self._attention(model, trace)
        cam = model.cam_logits(trace.tokens).clamp(min=0)
        if self.fuse == 'patchcam':
            return cam
        product = self._attention(model, trace) * cam
        return product.sqrt() if self.fuse == 'sqrt' else product

    def _attention(self, model: WSSSClassifier, trace: Trace) -> Tensor:
        """Class-to-patch attention of the last blocks, ``(N, C, h, w)``."""
        rows, first = model.num_classes, trace.num_prefix
        last = trace.attn[-self.layers :]
        stack = torch.stack([a[:, :, :rows, first:].mean(1) for a in last])
        return patch_grid(
            stack.sum(0) if self.reduce == 'sum' else stack.mean(0), trace
        )
