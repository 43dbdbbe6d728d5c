"""Pseudo labels by PSA: confident labels, an AffinityNet that learns them, and its walk.

Reads the stage 'maps', the data sets 'images' and 'masks' and the training 'affinity'.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, stages

with read_base():
    from .stages import refine, score_labels, train
crf = dict(type=refiners.DenseCRF, preset='psa')
walk = [
    dict(type=refiners.PowerBackground, alpha=16),
    dict(
        type=refiners.RandomWalk, affinity='affinity', beta=8, log_steps=8, border='psa'
    ),
]
pseudo_labels = dict(
    confident=dict(
        type=stages.ConfidentLabelStage,
        seeds='maps',
        dataset='images',
        alpha_low=4,
        alpha_high=32,
        refiners=[dict(type=refiners.PowerBackground), crf],
    ),
    affinity=dict(train, config='affinity', label_maps='confident'),
    pseudo=dict(refine, seeds='maps', refiners=[*walk, crf]),
    pseudo_score=dict(score_labels, labels='pseudo'),
)
