"""128 real COCO photos as a pipeline reads them; those that train are those that measure."""

from mmengine.config import read_base
from wsss_plugins.datasets import COCO14

with read_base():
    from ..coco128_data import data_root, label_maps, split
images = dict(type=COCO14, data_root=data_root, split=split)
datasets = dict(
    images=images,
    masks=dict(images, label_maps=label_maps, test_mode=True, drop_unlabelled=True),
)
