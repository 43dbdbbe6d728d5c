"""AffinityNet of table 4 of the ReScience paper: on the hybrid ViT's stem, VOC 2012.

The pipeline gives it the trained classifier and the confident labels. Alone:

    wsss train psa/voc_affinity --cfg-options \
        model.backbone.pretrained=CLASSIFIER/weights.safetensors \
        train_dataloader.dataset.label_maps=CONFIDENT/labels
"""

from mmengine.config import read_base
from mmseg.datasets.transforms import PackSegInputs
from wsss_plugins import affinity, backbones, datasets, losses

with read_base():
    from .._base_.normalisation import half as _half
    from .._base_.sgd_poly import optim_wrapper, param_scheduler, train_cfg
    from .._base_.voc_data import data_root, train_dataloader
model = dict(
    type=affinity.AffinityNet,
    backbone=dict(
        type=backbones.TransformerStem,
        name='vit_base_r50_s16_384',
        pretrained=True,  # of timm; the pipeline puts the trained classifier here
    ),
    in_index=(2,),  # stride 16, upsampled to the grid of stride 8
    in_channels=(1024,),
    channels=(512,),
    groups=32,
    stride=8,
    radius=5,
    loss=dict(type=losses.AffinityLoss, eps=1e-6),
    **_half,
)
_load, _, _flip, _, _ = train_dataloader.dataset.pipeline
train_dataloader.batch_size = 8
train_dataloader.dataset.update(
    label_maps='confident_labels',  # the pipeline puts its confident labels here
    pipeline=[
        _load,
        dict(type=datasets.LoadConfidentScores),
        dict(type=datasets.ResizeWithScores, scale=(448, 448), keep_ratio=False),
        dict(type=datasets.ColorJitter),
        _flip,
        dict(type=datasets.PoolConfidentLabels, stride=8),
        dict(type=PackSegInputs),
    ],
)
[_rate] = param_scheduler
_rate.power = 1.0
max_epochs = train_cfg.max_epochs = 7
train_cfg.pop('val_interval')  # an AffinityNet has no validation
optim_wrapper.optimizer.update(lr=0.1, weight_decay=1e-4)
