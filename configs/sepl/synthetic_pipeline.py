"""SEPL on the synthetic set: what votes of superpixels bring, with and without a CRF."""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from .._base_.road.sepl import scores, votes
    from .._base_.road.stages import *
    from .._base_.road.synthetic import datasets
trainings = dict(classifier='../psa/synthetic.py')
seeding = dict(
    classifier=train,
    maps=dict(look, head=dict(type=seeds.CAM), batch_size=50),
    maps_score=dict(score, seeds='maps'),
)
_background = dict(type=refiners.ConstantBackground)
_labels = dict(refine, seeds='maps', threshold='foreground_share', threshold_factor=0.8)
labels = dict(
    plain=dict(_labels, refiners=[_background]),
    plain_score=dict(score_labels, labels='plain'),
    crf=dict(
        _labels,
        refiners=[
            _background,
            # Widths of the kernels are for photos of 500 px and are scaled to 64.
            dict(type=refiners.DenseCRF, preset='psa', reference_size=500),
        ],
    ),
    crf_score=dict(score_labels, labels='crf'),
)
# Superpixels of 64 px images are smaller.
for _name, _stage in votes.items():
    _small = dict(scale=30, min_size=10) if 'felzenszwalb' in _name else dict()
    _stage.arguments.update(_small)
pipeline = [seeding, labels, votes, scores]
