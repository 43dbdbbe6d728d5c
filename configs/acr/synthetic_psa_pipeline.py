"""The twin of voc_pipeline.py on the synthetic set: tables 1 to 3 of ACR.

PSA's AffinityNet learns from the maps without affinity refinement and refines those with
it; then CRF, DeepLabV2 and mIoU. No threshold comes from masks. From the pretrained start:
--cfg-options trainings.classifier=synthetic_pretrained.py
"""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .synthetic_pipeline import *
    from .._base_.road.synthetic_affinity import notes, pseudo_labels
trainings.update(affinity='../psa/synthetic_affinity.py')
plain = dict(look, head=dict(type=seeds.ACRGradientMap, affinity=False))
acr = dict(look, head=dict(type=seeds.ACRGradientMap))
seeding = dict(
    classifier=train,
    plain=plain,
    plain_score=dict(score, seeds='plain'),
    acr=acr,
    acr_score=dict(score, seeds='acr'),
)
pseudo_labels.confident.update(seeds='plain')
pseudo_labels.pseudo.update(seeds='acr')
report.update(
    title='ACR with PSA on synthetic images',
    notes=notes,
    seeds=['plain_score', 'acr_score'],
)
pipeline = [seeding, pseudo_labels, segmentation, report]
