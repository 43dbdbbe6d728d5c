"""Semantic affinity between the pixels of one image, and the random walk over it."""

from wsss_plugins.affinity.geometry import (
    BorderRule,
    pair_indices,
    pair_labels,
    pair_mask,
    pair_offsets,
)
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
    'BorderRule',
    'BoundarySource',
    'ColourBoundaries',
    'ColourFeatures',
    'FeatureSource',
    'Transition',
    'boundary_affinities',
    'feature_affinities',
    'image_affinities',
    'pad_to_stride',
    'pair_indices',
    'pair_labels',
    'pair_mask',
    'pair_offsets',
]
