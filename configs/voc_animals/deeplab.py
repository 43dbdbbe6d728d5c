"""DeepLabV2's head on the frozen maps of strides 16 and 32, joined at stride 16."""

from mmengine.config import read_base
from wsss_plugins.segmentors import DeepLabV2Head

with read_base():
    from .decoder import *
model.decode_head.update(
    type=DeepLabV2Head,
    in_channels=(112, 1280),
    in_index=(1, 2),
    input_transform='resize_concat',
    dilations=(3, 6, 9, 12),  # those of stride 8, halved
    norm_cfg=None,
)
