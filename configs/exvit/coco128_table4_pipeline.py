"""Table 4 of eX-ViT on 128 real COCO photos, from scratch.

    tools/run_pipeline.py configs/exvit/coco128_table4_pipeline.py

A trial of the road, not a result: 128 photos cannot teach 80 classes, and those that are
scored are those that were trained on. So the labels are given, not predicted.
"""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14
from wsss_plugins import seeds, stages

with read_base():
    from .._base_.coco128_data import data_root, split
    from .coco_table4_pipeline import rows, table4, train

# The model doubts most of the 80 classes: their logits are negative everywhere.
rows.update(ex_vit=('exvit', dict(type=seeds.AttributeCAM, floor='minimum')))

datasets = dict(
    images=dict(type=COCO14, data_root=data_root, split=split, test_mode=True)
)
trainings = dict(vit='../acr/coco128.py', exvit='coco128.py')
maps = dict(
    type=stages.SeedStage, dataset='images', input_size=(224, 288), batch_size=8
)
pipeline = [
    train,
    {name: dict(maps, model=model, head=head) for name, (model, head) in rows.items()},
    dict(table4=table4),
]
