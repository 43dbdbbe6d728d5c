"""eX-ViT on the synthetic data set: maps, PSA refinement, CRF, DeepLabV2, mIoU.

The twin of voc_pipeline.py: tables 1 and 2 of eX-ViT.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from .._base_.road.exvit import label_crf, look, report, seeding, segmentation
    from .._base_.road.synthetic import datasets
    from .._base_.road.synthetic_affinity import crf, notes, pseudo_labels
trainings = dict(
    classifier='synthetic.py',
    affinity='../psa/synthetic_affinity.py',
    segmentor='../deeplabv2/synthetic.py',
)
maps = dict(look, head=dict(type=seeds.AttributeCAM), batch_size=50)
seeding.update(maps=dict(maps, scales=(1.0, 1.5)))
label_crf.crf.update(
    threshold='otsu', refiners=[dict(type=refiners.ConstantBackground), crf]
)
segmentation.prediction.update(scales=(0.75, 1.0, 1.25))
report.update(
    title='eX-ViT: from image-level labels to segmentation',
    notes=notes,
    predictions='prediction_score',
)
pipeline = [seeding, label_crf, pseudo_labels, segmentation, report]
