"""Table 4 of eX-ViT: COCO's average precision and recall of maps on val2014.

Maps are of the classes that each model predicts, as nobody tells it the labels. How they
become detections is our choice, see docs/methods.md.
"""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14
from wsss_plugins import stages

with read_base():
    from .._base_.coco_data import data_root
    from .._base_.exvit_table4 import rows

datasets = dict(
    images=dict(type=COCO14, data_root=data_root, split='val2014', test_mode=True)
)
trainings = dict(vit='coco_vit.py', exvit='coco.py')
train = {name: dict(type=stages.TrainStage, config=name) for name in trainings}
maps = dict(type=stages.SeedStage, dataset='images', batch_size=8, min_probability=0.5)
table4 = dict(
    type=stages.EvaluateInstanceStage,
    seeds={name: name for name in rows},
    dataset='images',
)
pipeline = [
    train,
    {name: dict(maps, model=model, head=head) for name, (model, head) in rows.items()},
    dict(table4=table4),
]
