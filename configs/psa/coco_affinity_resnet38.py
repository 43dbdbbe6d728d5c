"""AffinityNet of PSA on MS COCO 2014: on WideResNet38, as on VOC with its released settings.

It refines the maps for table 1 of ACR and for table 3 of eX-ViT.
"""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14

with read_base():
    from .voc_affinity_resnet38 import *
    from .._base_.coco_data import data_root
train_dataloader.dataset.update(
    type=COCO14, data_root=data_root, split='train2014', drop_unlabelled=True
)

# as many steps as 8 epochs of VOC, twice over
max_epochs = train_cfg.max_epochs = 2
