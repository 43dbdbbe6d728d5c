"""The whole road on 128 real COCO photos, from scratch.

A trial on real photos, not a result: 128 photos cannot teach 80 classes, there are no
pretrained weights, and the photos that are scored are those that were trained on.
"""

from mmengine.config import read_base
from wsss_plugins import refiners

with read_base():
    from .._base_.road.coco128 import datasets
    from .synthetic_pipeline import heads, look, pseudo_labels, report, score
    from .synthetic_pipeline import segmentation, train
trainings = dict(classifier='coco128.py', segmentor='../deeplabv2/coco128.py')
# The model doubts most of the 80 classes: their logits are negative everywhere.
heads.cam.update(floor='minimum')
look.update(input_size=(224, 288), batch_size=8)
rows = [
    {name: dict(look, head=head), f'{name}_score': dict(score, seeds=name)}
    for name, head in heads.items()
]
seeding = [dict(classifier=train), *rows]
pseudo_labels.pseudo.update(
    refiners=[dict(type=refiners.ConstantBackground), dict(type=refiners.DenseCRF)]
)
datasets.update(val_masks=datasets.masks)
segmentation.prediction.update(scales=(0.3, 0.4))
report.update(
    title='From image-level labels to segmentation on 128 COCO photos',
    notes=(
        'A trial of the road on real photos, not a result: no pretrained weights, '
        '80 classes from 128 photos, and scored on the photos it was trained on.'
    ),
)
pipeline = [*seeding, pseudo_labels, segmentation, report]
