"""IRN in place of AffinityNet on the animals of Pascal VOC 2012, on two cores.

    python tools/run_pipeline.py configs/irn/animals_pipeline.py --data-root VOC2012

Features and maps are those of configs/voc_animals/pipeline.py, whose work dir it shares. The
photos have no masks of single objects: the objects are made and not measured.
"""

from mmengine.config import read_base
from wsss_plugins.refiners import ConstantBackground

with read_base():
    from .._base_.road.irn import instances, learnt, semantic
    from ..voc_animals.pipeline import *
trainings = dict(classifier='../voc_animals/cam.py', irn='animals.py')
# The maps are best cut at 0.02, far below the numbers of IRN: a root lifts it to 0.14.
rooted = dict(
    rooted=dict(
        refine,
        seeds='maps',
        refiners=[square_root, dict(type=ConstantBackground, threshold=0.2)],
        soft=True,
    )
)
learnt.confident.update(seeds='rooted')
learnt.irn.update(kept)
semantic = dict(
    irn_pseudo=dict(
        semantic.pseudo, seeds='rooted', refiners=[*semantic.pseudo.refiners, smooth]
    ),
    irn_pseudo_score=dict(score_labels, labels='irn_pseudo'),
)
objects = dict(objects=dict(instances.objects, seeds='rooted'))
report = dict(
    maps_report,
    title='IRN on the animals of Pascal VOC 2012',
    seeds=['maps_score'],
    labels='irn_pseudo_score',
)
learnt = dict(agreed=learnt.confident, irn=dict(learnt.irn, label_maps='agreed'))
pipeline = [seeding, rooted, learnt, semantic, objects, dict(report=report)]
