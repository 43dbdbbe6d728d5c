"""AdamW with a warm-up and a cosine: what trains a small transformer from scratch."""

from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import AdamW

max_epochs = 12
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=100)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
_warm = 1 / 12  # of the training, as all floats here
_warm_up = dict(type=LinearLR, start_factor=0.05, end=_warm)
_cosine = dict(type=CosineAnnealingLR, begin=_warm, T_max=1 - _warm, eta_min=1e-6)
param_scheduler = [dict(s, convert_to_iter_based=True) for s in (_warm_up, _cosine)]
