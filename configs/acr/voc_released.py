"""ACR classifier on Pascal VOC 2012: ViT-hybrid-B at 384 px, settings of the released code.

Its differences from the paper are explained in docs/methods.md. The released batch is one
image on each of four GPUs: tools/dist_train.sh configs/acr/voc_released.py 4
"""

from mmengine.config import read_base

with read_base():
    from .._base_.normalisation import imagenet as _imagenet
    from .voc import *
# The head reads the tokens before the last norm; ImageNet's mean, whatever the weights.
model.update(_imagenet)
model.backbone.update(final_norm=False, std_eps=1e-5)
model.consistency.update(activation_weight=125.0, affinity_weight=125.0)
_, _, _, _crop, _ = train_dataloader.dataset.pipeline
_, _, _val_crop, _ = val_dataloader.dataset.pipeline
_crop.pad = _val_crop.pad = [124, 116, 104]

# The weight decay is passed in the place of the momentum.
optim_wrapper.optimizer.update(lr=0.05, momentum=5e-4, weight_decay=0.0)
max_epochs = train_cfg.max_epochs = 10
