"""Losses: image-level labels, consistency of attention, attributes, affinity of pixels."""

from wsss_plugins.losses.affinity import AffinityLoss
from wsss_plugins.losses.attention_affinity import AttentionAffinityLoss
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
from wsss_plugins.losses.class_contrast import ClassContrastLoss
from wsss_plugins.losses.consistency import AttentionConsistencyLoss
from wsss_plugins.losses.displacement import DisplacementLoss
from wsss_plugins.losses.energy import EnergyLoss, gaussian_sums
from wsss_plugins.losses.equivariance import MapEquivarianceLoss
from wsss_plugins.losses.multilabel import MultiLabelSoftMarginLoss
from wsss_plugins.losses.placement import (
    SYMMETRIES,
    Moves,
    Placement,
    Reordering,
    Resampling,
    restore_order,
    view_permutation,
)
from wsss_plugins.losses.token_contrast import (
    ClassContrastOfCropsLoss,
    PatchContrastLoss,
    equal_pairs,
)
from wsss_plugins.losses.views import (
    VIEWS,
    GreyView,
    HidePatchesView,
    ImageFormat,
    RandomView,
    ResizeView,
    SymmetryView,
    View,
    ViewChain,
    build_view,
)
from wsss_plugins.losses.whole_batch import whole_batch_mean

__all__ = [
    'SYMMETRIES',
    'VIEWS',
    'AffinityLoss',
    'AttentionAffinityLoss',
    'AttentionConsistencyLoss',
    'AttributeLoss',
    'BalancedCrossEntropyLoss',
    'ClassContrastLoss',
    'ClassContrastOfCropsLoss',
    'DisplacementLoss',
    'EnergyLoss',
    'GreyView',
    'HidePatchesView',
    'ImageFormat',
    'MapEquivarianceLoss',
    'Moves',
    'MultiLabelSoftMarginLoss',
    'PatchContrastLoss',
    'Placement',
    'RandomView',
    'Reordering',
    'Resampling',
    'ResizeView',
    'SymmetryView',
    'View',
    'ViewChain',
    'at_least_float32',
    'attribute_discriminability',
    'attribute_diversity',
    'build_view',
    'equal_pairs',
    'gaussian_sums',
    'generalised_mean',
    'inner_products',
    'normalised_mse',
    'power_mean_root',
    'restore_order',
    'view_permutation',
    'whole_batch_mean',
]
