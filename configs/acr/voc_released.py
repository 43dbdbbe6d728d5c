"""ACR classifier on Pascal VOC 2012 with the settings of the released code.

They are presets['released'] of ../_base_/acr_presets.py; docs/methods.md says what differs
from the paper. The released batch is one image on each of four GPUs:
tools/dist_train.sh configs/acr/voc_released.py 4 --cfg-options train_dataloader.batch_size=1
"""

from mmengine.config import read_base

with read_base():
    from .voc import *

# The head reads the tokens before the last norm; ImageNet's mean, whatever the weights.
model.backbone.update(final_norm=False, std_eps=1e-5)
model.consistency.update(activation_weight=125.0, affinity_weight=125.0)
model.update(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
train_dataloader.dataset.pipeline[3].pad = [124, 116, 104]
val_dataloader.dataset.pipeline[2].pad = [124, 116, 104]

# The weight decay is passed in the place of the momentum.
optim_wrapper.optimizer.update(lr=0.05, momentum=5e-4, weight_decay=0.0)
max_epochs = 10
train_cfg.max_epochs = max_epochs
param_scheduler[0].end = max_epochs
