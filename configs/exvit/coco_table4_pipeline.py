"""Table 4 of eX-ViT: COCO's average precision and recall of maps on val2014.

Maps are of the classes that each model predicts, as nobody tells it the labels. How they
become detections is our choice, see docs/methods.md.
"""

from mmengine.config import read_base
from wsss_plugins import seeds, stages
from wsss_plugins.datasets import COCO14

with read_base():
    from .._base_.coco_data import data_root
    from .._base_.road.stages import look
images = dict(type=COCO14, data_root=data_root, split='val2014', test_mode=True)
datasets = dict(images=images)
trainings = dict(vit='coco_vit.py', exvit='coco.py')
# The model that is explained, and by which method.
rows = dict(
    grad_cam=('vit', dict(type=seeds.AttentionGradCAM)),
    partial_lrp=('vit', dict(type=seeds.PartialLRP)),
    raw_attention=('vit', dict(type=seeds.RawAttention)),  # the row 'ViT'
    rollout=('vit', dict(type=seeds.AttentionRollout)),
    transformer_attribution=('vit', dict(type=seeds.TransformerAttribution)),
    generic_relevance=('vit', dict(type=seeds.GenericAttentionRelevance)),
    ex_vit=('exvit', dict(type=seeds.AttributeCAM)),
)
train = {name: dict(type=stages.TrainStage, config=name) for name in trainings}
look.update(batch_size=8, min_probability=0.5)
maps = {n: dict(look, model=model, head=head) for n, (model, head) in rows.items()}
table4 = dict(
    type=stages.EvaluateInstanceStage, seeds={n: n for n in rows}, dataset='images'
)
pipeline = [train, maps, dict(table4=table4)]
