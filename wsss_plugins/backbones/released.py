"""Checkpoints of the released ACR code, under the names of our classifier."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.logging import print_log
from torch import Tensor

_ENCODER, _HEAD = 'pretrained.model.', 'cls_head.'
_UNUSED = ('head.', 'head_dist.', 'bkg_token', 'norm_head.')
"""Weights of the encoder that its ``forward_cam`` never reads."""


def is_released_acr(weights: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of the released ACR code."""
    return f'{_HEAD}weight' in weights and any(k.startswith(_ENCODER) for k in weights)


def from_released_acr(weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Weights of the released ACR code under the names of a :class:`WSSSClassifier`.

    The encoder becomes ``backbone.vit`` and the class head ``head.fc``. Weights that
    the released code never uses (DPT's decoder ``scratch``, the head of the ViT) are
    left out and logged. The network of the released code is
    ``TimmViT('vit_base_r50_s16_384', final_norm=False, pos_embed='bilinear',
    std_eps=1e-5)`` with ``TokenHead(sources=('class',), shared=True)``.

    Source: the released code of Sun et al., All-pairs Consistency Learning for WSSS, 2023.

    Args:
        weights: Name to tensor.
        source: The file's name, for the log.

    Returns:
        Name to tensor.
    """
    ours = {}
    for name, value in weights.items():
        if name.startswith(_HEAD):
            ours[f'head.fc.{name.removeprefix(_HEAD)}'] = value
        part = name.removeprefix(_ENCODER)
        if part != name and not part.startswith(_UNUSED):
            ours[f'backbone.vit.{part}'] = value
    left = len(weights) - len(ours)
    print_log(
        f'{source}: a checkpoint of the released ACR code; {len(ours)} tensors renamed, '
        f'{left} that it does not use left out',
        logger='current',
    )
    return ours
