"""PSA's AffinityNet on the frozen maps, from the confident labels of the pipeline."""

from mmengine.config import read_base
from mmseg.datasets.transforms import PackSegInputs
from wsss_plugins import affinity, losses
from wsss_plugins.datasets import LoadConfidentScores, PoolConfidentLabels

with read_base():
    from .._base_.frozen_data import network, raw, train_dataloader, view
    from .._base_.sgd_poly import optim_wrapper, param_scheduler, train_cfg
model = dict(
    type=affinity.AffinityNet,
    backbone=network,
    in_channels=(40, 112, 1280),
    channels=(32, 64, 128),
    groups=16,
    stride=8,
    radius=5,
    loss=dict(type=losses.AffinityLoss, eps=1e-6),
    **raw,
)
train_dataloader.dataset.update(
    label_maps='confident_labels',  # the pipeline puts its confident labels here
    pipeline=[
        dict(type=LoadConfidentScores),
        view,
        dict(type=PoolConfidentLabels, stride=8),
        dict(type=PackSegInputs),
    ],
)
[_rate] = param_scheduler
_rate.power = 1.0
max_epochs = train_cfg.max_epochs = 7
train_cfg.pop('val_interval')  # an AffinityNet has no validation
optim_wrapper.optimizer.update(lr=0.1, weight_decay=1e-4)
