"""Table 4 of eX-ViT on 128 real COCO photos, from scratch.

    tools/run_pipeline.py configs/exvit/coco128_table4_pipeline.py

A trial of the road, not a result: 128 photos cannot teach 80 classes, and those that are
scored are those that were trained on. So the labels are given, not predicted.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import COCO14
from wsss_plugins.seeds import AttributeCAM
from wsss_plugins.stages import EvaluateInstanceStage, SeedStage, TrainStage

with read_base():
    from .._base_.coco128_data import data_root, split
    from .._base_.exvit_table4 import rows

# The model doubts most of the 80 classes: their logits are negative everywhere.
rows.update(ex_vit=('exvit', dict(type=AttributeCAM, floor='minimum')))

seed = 0
images = dict(type=COCO14, data_root=data_root, split=split, test_mode=True)

pipeline = [
    dict(type=TrainStage, name='vit', config='../acr/coco128.py'),
    dict(type=TrainStage, name='exvit', config='coco128.py'),
    *(
        dict(
            type=SeedStage,
            name=name,
            model=model,
            head=head,
            dataset=images,
            input_size=(224, 288),
            batch_size=8,
        )
        for name, (model, head) in rows.items()
    ),
    dict(
        type=EvaluateInstanceStage,
        name='table4',
        seeds={name: name for name in rows},
        dataset=images,
    ),
]
