"""Semantic and instance pseudo labels by IRN: confident labels, an IRNet, and its walk.

Reads the stage 'maps', the data sets 'images' and 'masks' and the training 'irn'.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, stages

with read_base():
    from .stages import refine, score_labels, train
learnt = dict(
    confident=dict(
        type=stages.AgreedLabelStage,
        seeds='maps',
        dataset='images',
        high=0.30,
        low=0.05,
        refiners=[
            dict(type=refiners.ConstantBackground),
            dict(type=refiners.DenseCRF, preset='irn'),
        ],
    ),
    irn=dict(train, config='irn', label_maps='confident'),
)
walk = dict(
    type=refiners.RandomWalk,
    affinity='irn',
    beta=10,
    log_steps=8,
    border='irn',
    walk_background=False,
)
semantic = dict(
    pseudo=dict(
        refine,
        seeds='maps',
        refiners=[
            walk,
            dict(type=refiners.LargestScore),
            dict(type=refiners.ConstantBackground, threshold=0.25, normalise=False),
        ],
    ),
    pseudo_score=dict(score_labels, labels='pseudo'),
)
instances = dict(
    objects=dict(
        type=stages.InstanceLabelStage,
        seeds='maps',
        model='irn',
        dataset='images',
        beta=10,
        log_steps=8,
        background=0.25,
    ),
    objects_score=dict(
        type=stages.EvaluateInstanceLabelStage, instances='objects', dataset='masks'
    ),
)
