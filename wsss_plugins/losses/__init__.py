"""Losses: classification from image-level labels and consistency of attention."""

from wsss_plugins.losses.consistency import (
    VIEWS,
    AttentionConsistencyLoss,
    restore_order,
    view_permutation,
)
from wsss_plugins.losses.multilabel import MultiLabelSoftMarginLoss

__all__ = [
    'VIEWS',
    'AttentionConsistencyLoss',
    'MultiLabelSoftMarginLoss',
    'restore_order',
    'view_permutation',
]
