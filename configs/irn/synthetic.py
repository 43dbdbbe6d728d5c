"""IRNet on the synthetic data set: half a minute on two cores.

It reads the stem of the trained classifier. Images of 64 px have 32x32 cells of 2 px.
"""

from mmengine.config import read_base
from wsss_plugins import affinity, backbones

with read_base():
    from .._base_.synthetic_classifier import data_root
    from .._base_.synthetic_classifier import model as _classifier
    from .voc import custom_hooks, optim_wrapper, param_scheduler
    from .voc import train_cfg, train_dataloader
stride = 2
model = dict(
    type=affinity.IRNet,
    backbone=dict(
        _classifier.backbone,
        type=backbones.TransformerStem,
        pretrained=None,  # the pipeline puts the trained classifier here
    ),
    in_channels=(32, 64, 128),
    strides=(2, 4, 8),
    channels=(32, 64, 64),
    groups=(8, 8, 8),
    joined=64,
    train_radius=8,
)
_load, _labels, _, _flip, _, _shrink, _pack = train_dataloader.dataset.pipeline
_shrink.stride = stride
train_dataloader.update(batch_size=16, num_workers=0)
train_dataloader.dataset.update(
    data_root=data_root,
    split='train',
    pipeline=[_load, _labels, _flip, _shrink, _pack],
)
max_epochs = train_cfg.max_epochs = 3
