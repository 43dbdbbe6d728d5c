"""DeepLabV2 with a small ResNet-18 on the synthetic data set, from scratch."""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmseg.models import backbones, losses
from torch.optim import AdamW
from wsss_plugins import segmentors

with read_base():
    from .._base_.deeplab_segmentation import *
    from .._base_.synthetic_segmentation import *
model.data_preprocessor.size = (64, 64)
model.backbone = dict(
    type=backbones.ResNetV1c,
    depth=18,
    stem_channels=24,
    base_channels=24,
    strides=(1, 2, 1, 1),  # output stride 8, as DeepLabV2
    dilations=(1, 1, 2, 4),
    out_indices=(3,),
    norm_cfg=dict(type='BN'),
    contract_dilation=True,
)
model.decode_head = dict(
    type=segmentors.DeepLabV2Head,
    in_channels=192,
    in_index=0,
    num_classes=num_classes,
    dilations=(1, 2, 3, 4),  # an 8x8 grid has no room for rates of 6 to 24
    # Nine pixels in ten are background.
    loss_decode=dict(
        type=losses.CrossEntropyLoss, class_weight=[0.4, 1, 1, 1, 1, 1, 1]
    ),
)
max_epochs = 16
train_cfg.update(max_epochs=max_epochs, val_interval=100)
param_scheduler[0].eta_min = 1e-5
optim_wrapper = dict(
    type=OptimWrapper, optimizer=dict(type=AdamW, lr=2e-3, weight_decay=0.05)
)
