"""Losses: image-level classification, consistency of attention, affinity of pixels."""

from wsss_plugins.losses.affinity import AffinityLoss
from wsss_plugins.losses.consistency import (
    VIEWS,
    AttentionConsistencyLoss,
    restore_order,
    view_permutation,
)
from wsss_plugins.losses.multilabel import MultiLabelSoftMarginLoss

__all__ = [
    'VIEWS',
    'AffinityLoss',
    'AttentionConsistencyLoss',
    'MultiLabelSoftMarginLoss',
    'restore_order',
    'view_permutation',
]
