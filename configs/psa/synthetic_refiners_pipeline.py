"""What each refiner makes of the same seeds: dense CRF, PAMR, random walk, and both.

The seeds, their background and the AffinityNet are those of synthetic_pipeline.py. No
threshold comes from masks: every row starts from the same background, PSA's.
"""

from mmengine.config import read_base

from wsss_plugins.refiners import PAMR, PowerBackground
from wsss_plugins.stages import EvaluateLabelStage, RefineStage

with read_base():
    from .synthetic_pipeline import crf, images, masks, walk
    from .synthetic_pipeline import pipeline as stages

background = dict(type=PowerBackground)  # alpha 16, PSA's before its random walk
pamr = dict(type=PAMR)
refine = dict(type=RefineStage, seeds='attribution', dataset=images)
score = dict(type=EvaluateLabelStage, dataset=masks)

pipeline = [
    *stages[:5],  # classifier, seeds, their score, confident labels, AffinityNet
    dict(refine, name='alone', refiners=[background]),
    dict(score, name='alone_score', labels='alone'),
    dict(refine, name='crf', refiners=[background, crf]),
    dict(score, name='crf_score', labels='crf'),
    dict(refine, name='pamr', refiners=[background, pamr]),
    dict(score, name='pamr_score', labels='pamr'),
    dict(refine, name='walk', refiners=[background, walk]),
    dict(score, name='walk_score', labels='walk'),
    dict(refine, name='walk_crf', refiners=[background, walk, crf]),
    dict(score, name='walk_crf_score', labels='walk_crf'),
]
