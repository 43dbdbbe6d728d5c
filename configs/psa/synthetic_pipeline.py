"""Transformer attribution, AffinityNet and random walk on the synthetic data set.

The twin of voc_pipeline.py on images of 64 px, every network from scratch.
"""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .._base_.road.stages import *
    from .._base_.road.synthetic import datasets
    from .._base_.road.synthetic_affinity import crf, pseudo_labels, random_walk, walk
trainings = dict(classifier='synthetic.py', affinity='synthetic_affinity.py')
seeding = dict(
    classifier=train,
    attribution=dict(look, head=dict(type=seeds.TransformerAttribution), batch_size=50),
    attribution_score=dict(score, seeds='attribution'),
)
learnt = dict(
    confident=dict(pseudo_labels.confident, seeds='attribution'),
    affinity=pseudo_labels.affinity,
)
walked = dict(
    walked=dict(refine, seeds='attribution', refiners=walk, soft=True),
    walked_score=dict(score_labels, labels='walked'),
    pseudo=dict(refine, seeds='walked', refiners=[crf]),
    pseudo_score=dict(score_labels, labels='pseudo'),
)
report = dict(
    maps_report,
    title='Transformer attribution, AffinityNet and random walk',
    notes=(
        'Synthetic images of 64 px, every network from scratch, from image-level '
        'labels only. No threshold comes from masks; the steps of the walk were chosen '
        'on those of 150 images.'
    ),
    seeds=['attribution_score'],
    labels='pseudo_score',
)
pipeline = [seeding, learnt, walked, report]
