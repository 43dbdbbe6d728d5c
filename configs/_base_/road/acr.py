"""The stages of ACR's pipeline, from image-level labels to a segmentor.

PSA's AffinityNet learns from the maps without affinity refinement (ACR*), which have fewer
false positives, and refines the maps with it.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from ...deeplabv2.voc_r101 import prediction as protocol
    from .affinity import pseudo_labels, walk
    from .stages import look, maps_report, report, score, segmentation, train
look.update(input_size=(384, 384), align_corners=True, batch_size=4)
acr = dict(look, head=dict(type=seeds.ACRGradientMap, start_block=-2, affinity=True))
plain = dict(look, head=dict(type=seeds.ACRGradientMap, start_block=-2, affinity=False))
crf = dict(type=refiners.DenseCRF, preset='acr')
seeding = dict(
    classifier=train,
    plain=plain,
    plain_score=dict(score, seeds='plain'),
    acr=acr,
    acr_score=dict(score, seeds='acr'),
)
pseudo_labels.confident.update(
    seeds='plain', refiners=[dict(type=refiners.PowerBackground), crf]
)
pseudo_labels.pseudo.update(seeds='acr', refiners=[*walk, crf])
segmentation.prediction.update(protocol)
report.update(seeds=['plain_score', 'acr_score'])
