"""Losses: image-level labels, consistency of attention, attributes, affinity of pixels."""

from wsss_plugins.losses.affinity import AffinityLoss
from wsss_plugins.losses.attribute import (
    AttributeLoss,
    at_least_float32,
    attribute_discriminability,
    attribute_diversity,
    generalised_mean,
    inner_products,
    normalised_mse,
    power_mean_root,
)
from wsss_plugins.losses.balanced import BalancedCrossEntropyLoss
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
    'AttributeLoss',
    'BalancedCrossEntropyLoss',
    'MultiLabelSoftMarginLoss',
    'at_least_float32',
    'attribute_discriminability',
    'attribute_diversity',
    'generalised_mean',
    'inner_products',
    'normalised_mse',
    'power_mean_root',
    'restore_order',
    'view_permutation',
]
