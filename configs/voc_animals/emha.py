"""The hybrid transformer with E-MHA (eX-ViT) in place of softmax attention."""

from mmengine.config import read_base
from wsss_plugins import backbones

with read_base():
    from .hybrid import *
model.backbone = dict(
    type=backbones.ExViT,
    stem=dict(net=network, in_index=(1, 2)),
    img_size=448,
    embed_dim=192,
    depth=4,
    num_heads=3,
    scale='tokens',
)
