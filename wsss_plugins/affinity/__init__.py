"""Semantic affinity between the pixels of one image, and the random walk over it."""

from wsss_plugins.affinity.attention import (
    AttentionAffinity,
    affinity_walk,
    raw_products,
    square_window,
)
from wsss_plugins.affinity.centroids import cluster_centroids, find_centroids
from wsss_plugins.affinity.geometry import (
    BorderRule,
    pair_indices,
    pair_labels,
    pair_mask,
    pair_offsets,
    pair_path,
)
from wsss_plugins.affinity.instances import fragments, instance_maps
from wsss_plugins.affinity.irn import IRNet
from wsss_plugins.affinity.mean_displacement import MeanDisplacementHook
from wsss_plugins.affinity.net import AffinityNet
from wsss_plugins.affinity.random_walk import Transition
from wsss_plugins.affinity.similarity import feature_affinities
from wsss_plugins.affinity.sources import (
    BoundarySource,
    ColourBoundaries,
    ColourFeatures,
    FeatureSource,
    boundary_affinities,
    image_affinities,
    pad_to_stride,
)

__all__ = [
    'AffinityNet',
    'AttentionAffinity',
    'BorderRule',
    'BoundarySource',
    'ColourBoundaries',
    'ColourFeatures',
    'FeatureSource',
    'IRNet',
    'MeanDisplacementHook',
    'Transition',
    'affinity_walk',
    'boundary_affinities',
    'cluster_centroids',
    'feature_affinities',
    'find_centroids',
    'fragments',
    'image_affinities',
    'instance_maps',
    'pad_to_stride',
    'pair_indices',
    'pair_labels',
    'pair_mask',
    'pair_offsets',
    'pair_path',
    'raw_products',
    'square_window',
]
