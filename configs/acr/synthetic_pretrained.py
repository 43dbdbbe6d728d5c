"""ACR classifier on the synthetic data set, from the start that comes with the package.

The same as synthetic.py but for what the backbone begins with; see docs/methods.md.
"""

from mmengine.config import read_base

with read_base():
    from .synthetic import *
model.backbone.pretrained = 'synthetic'
# What the header of that file says; no label was looked at.
pretrained_supervision = 'self-supervised'
# Attention is what the start brings: ten times slower than the rest, it forgets less.
optim_wrapper.paramwise_cfg = dict(custom_keys={'attn.qkv': dict(lr_mult=0.1)})
