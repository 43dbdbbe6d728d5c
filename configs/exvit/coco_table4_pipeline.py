"""Table 4 of eX-ViT: COCO's average precision and recall of maps on val2014.

Maps are of the classes that each model predicts, as nobody tells it the labels. How they
become detections is our choice, see docs/methods.md.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import COCO14
from wsss_plugins.stages import EvaluateInstanceStage, SeedStage, TrainStage

with read_base():
    from .._base_.coco_data import data_root
    from .._base_.exvit_table4 import rows

seed = 0
images = dict(type=COCO14, data_root=data_root, split='val2014', test_mode=True)

pipeline = [
    dict(type=TrainStage, name='vit', config='coco_vit.py'),
    dict(type=TrainStage, name='exvit', config='coco.py'),
    *(
        dict(
            type=SeedStage,
            name=name,
            model=model,
            head=head,
            dataset=images,
            batch_size=8,
            min_probability=0.5,
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
