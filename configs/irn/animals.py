"""IRNet on the frozen maps of configs/voc_animals/: strides 8, 16 and 32."""

from mmengine.config import read_base
from mmseg.datasets.transforms import PackSegInputs
from wsss_plugins import affinity
from wsss_plugins.datasets import LoadLabelMap

with read_base():
    from .._base_.frozen_data import network, raw, train_dataloader, view
    from .voc import custom_hooks, optim_wrapper, param_scheduler, train_cfg
model = dict(
    type=affinity.IRNet,
    backbone=network,
    in_channels=(40, 112, 1280),
    strides=(8, 16, 32),
    channels=(64, 128, 128),
    groups=(8, 16, 16),
    joined=128,
    train_radius=5,  # the 10 cells of 4 px
    **raw,
)
train_dataloader.dataset.update(
    label_maps='confident_labels',  # the pipeline puts its confident labels here
    pipeline=[
        dict(type=LoadLabelMap),
        dict(view, label_stride=8),
        dict(type=PackSegInputs),
    ],
)
max_epochs = train_cfg.max_epochs = 5
