"""IRN on the synthetic set: semantic and instance pseudo labels from image-level labels.

The objects are measured on the masks of SegmentationObject, which synthetic sets have that
were made since the instance labels are there.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from .._base_.road.stages import *
    from .._base_.road.synthetic import datasets
    from .._base_.road.irn import instances, learnt, semantic
trainings = dict(classifier='../psa/synthetic.py', irn='synthetic.py')
seeding = dict(
    classifier=train,
    maps=dict(look, head=dict(type=seeds.CAM), batch_size=50),
    maps_score=dict(score, seeds='maps'),
)
# Widths of the kernels are for photos of 500 px and are scaled to 64.
_background, _crf = learnt.confident.refiners
learnt.confident.refiners = [_background, dict(_crf, reference_size=500)]
learnt.irn.update(backbone='classifier')
_walk, *_rest = semantic.pseudo.refiners
semantic.pseudo.refiners = [dict(_walk, log_steps=6), *_rest]
instances.objects.log_steps = 6
report = dict(
    maps_report,
    title='IRN on the synthetic set',
    seeds=['maps_score'],
    labels='pseudo_score',
)
pipeline = [seeding, learnt, semantic, instances, dict(report=report)]
