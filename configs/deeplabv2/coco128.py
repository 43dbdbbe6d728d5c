"""DeepLabV2 with a small ResNet-18 on 128 real COCO photos, from scratch."""

from mmengine.config import read_base

with read_base():
    from .synthetic import *
    from .._base_.coco128_segmentation import *
model.data_preprocessor.size = (128, 128)
model.decode_head.num_classes = num_classes
model.decode_head.dilations = (1, 3, 6, 9)  # a 16x16 grid has no room for a rate of 24
model.decode_head.loss_decode.class_weight = [0.3] + [1.0] * 80
max_epochs = train_cfg.max_epochs = 60
val_cfg = None
optim_wrapper.optimizer.lr = 1e-3
