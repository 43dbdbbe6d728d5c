"""DeepLab-LargeFOV with ResNet38 on pseudo labels of VOC 2012, as MCTformer trains it.

The segmentor of tables 2 and 7 of eX-ViT, whose text says DeepLabV2 and ResNet38 and
nothing of its schedule: schedule and dense CRF are those of MCTformer's code.
"""

from mmengine.config import read_base
from wsss_plugins import backbones, refiners, segmentors

with read_base():
    from .._base_.voc_segmentation import *
    from .._base_.deeplab_segmentation import *
model.backbone = dict(
    type=backbones.WideResNet38,
    # The published ILSVRC weights in PSA's names, wherever you keep them.
    pretrained='data/pretrained/resnet38_ilsvrc.pth',
)
pretrained_supervision = 'ImageNet labels'
model.decode_head.update(
    type=segmentors.LargeFOVHead, in_channels=4096, in_index=2, num_classes=num_classes
)
_, _, _resize, _, _, _ = train_dataloader.dataset.pipeline
_resize.ratio_range = (0.7, 1.3)
train_dataloader.batch_size = 4
max_epochs = train_cfg.max_epochs = 30
optim_wrapper.optimizer.update(
    lr=7e-4,
    momentum=1e-5,  # released: the weight decay is passed in the place of the momentum
    weight_decay=0.0,
)
optim_wrapper.paramwise_cfg.update(bias=1.0, bias_decay=1.0)
prediction.update(
    flip=False, merge='max', refiners=[dict(type=refiners.DenseCRF, preset='mctformer')]
)
