"""AffinityNet of PSA on the synthetic data set: a minute on two cores.

Images of 64 px have 8x8 cells of 8 px, too few for pairs of radius 5: the grid has a
stride of 2, and pairs may start at the border.
"""

from mmengine.config import read_base
from wsss_plugins import affinity, backbones, losses

with read_base():
    from .._base_.synthetic_classifier import data_root
    from .._base_.synthetic_classifier import model as _classifier
    from .voc_affinity import optim_wrapper, param_scheduler, train_cfg
    from .voc_affinity_resnet38 import train_dataloader
stride = 2
model = dict(
    type=affinity.AffinityNet,
    backbone=dict(
        _classifier.backbone,
        type=backbones.TransformerStem,
        pretrained=None,  # the pipeline puts the trained classifier here
    ),
    in_channels=(32, 64, 128),
    channels=(16, 16, 32),
    groups=8,
    stride=stride,
    border='irn',
    loss=dict(type=losses.AffinityLoss),
)
_, _, _, _crop, _, _pool, _ = train_dataloader.dataset.pipeline
_crop.size = 64
_pool.stride = stride
train_dataloader.update(batch_size=8, num_workers=0)
train_dataloader.dataset.update(data_root=data_root, split='train')
max_epochs = train_cfg.max_epochs = 3
