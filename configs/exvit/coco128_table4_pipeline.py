"""Table 4 of eX-ViT on 128 real COCO photos, from scratch.

A trial of the pipeline, not a result: 128 photos cannot teach 80 classes, and the measured
photos are the training photos. Image-level labels are given, not predicted.
"""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .._base_.road.coco128 import images
    from .._base_.road.stages import look
    from .coco_table4_pipeline import rows, table4, train
# The model doubts most of the 80 classes: their logits are negative everywhere.
rows.update(ex_vit=('exvit', dict(type=seeds.AttributeCAM, floor='minimum')))
datasets = dict(images=dict(images, test_mode=True))
trainings = dict(vit='../acr/coco128.py', exvit='coco128.py')
look.update(input_size=(224, 288), batch_size=8)
maps = {n: dict(look, model=model, head=head) for n, (model, head) in rows.items()}
pipeline = [train, maps, dict(table4=table4)]
