"""TS-CAM: the attention of the class token times the patch logits."""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_plugins.backbones import Trace
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import UserError
from wsss_plugins.registry import SEED_HEADS
from wsss_plugins.seeds.base import SeedHead, patch_grid


@SEED_HEADS.register_module()
class TSCAM(SeedHead):
    """The class token's attention, the same for all classes, times each patch's logit.

    The attention is the mean over heads, summed over all blocks. The paper's classifier
    reads the patch tokens alone (:class:`ConvHead`), so that the class token is trained
    only through its influence on the patch tokens. Here any head with patch logits can
    be used.

    Source: Gao et al., TS-CAM: Token Semantic Coupled Attention Map for Weakly Supervised
    Object Localization, 2021, in the version of its released code: a sum of the
    attention over blocks, without rollout.
    """

    needs_class_token = False  # whatever the logits come from; see check_model

    def check_model(self, model: WSSSClassifier) -> None:
        """Refuses a model without exactly one class token.

        Raises:
            UserError: The backbone has no class token, or more than one.
        """
        super().check_model(model)
        backbone = model.backbone
        count = backbone.num_class_tokens if backbone.has_class_token else 0
        if count != 1:
            raise UserError(
                f'TSCAM reads what one class token attends to, and '
                f'{type(backbone).__name__} has {count}: take '
                f'{"MCTformerMap" if count else "CAM"}'
            )

    def class_maps(self, model: WSSSClassifier, trace: Trace, labels: Tensor) -> Tensor:
        """Attention times logits, ``(N, C, h, w)``."""
        first = trace.num_prefix
        rows = torch.stack([a[:, :, 0, first:].mean(1) for a in trace.attn]).sum(0)
        return patch_grid(rows, trace)[:, None] * model.cam_logits(trace.tokens)
