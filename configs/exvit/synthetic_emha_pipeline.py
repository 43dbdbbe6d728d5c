"""What E-MHA needs to learn from scratch: five epochs of the same encoder, one change each.

docs/methods.md says what it needs; every row is a classifier with a plain CAM head.
"""

from mmengine.config import read_base
from wsss_plugins import backbones

with read_base():
    from .._base_.road.exvit import train
    from .synthetic_backbones import model
trainings = dict(classifier='synthetic_backbones.py')
softmax = dict(model.backbone)
emha = dict(softmax, type=backbones.ExViT)
short = {'train_cfg.max_epochs': 5, 'param_scheduler.0.end': 0.2}  # one epoch
short |= {'param_scheduler.1.begin': 0.2, 'param_scheduler.1.T_max': 0.8}
rows = dict(
    softmax={'model.backbone': softmax},
    printed={'model.backbone': emha},
    faster={'model.backbone': emha, 'optim_wrapper.optimizer.lr': 2e-3},
    average={'model.backbone': emha, 'model.head.pool_fraction': 1.0},
    bias={'model.backbone': dict(emha, bias_init=1.0)},
    matrix={'model.backbone': dict(emha, norm='matrix')},
    tokens={'model.backbone': dict(emha, scale='tokens')},
)
pipeline = [
    {name: dict(train, options={**short, **options}) for name, options in rows.items()}
]
