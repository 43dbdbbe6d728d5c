"""The ViT-B/16 whose maps Chefer et al. test, and DeiT-B of the same size.

A file takes the place of a download: pretrained='FILE' (.pth, .safetensors or .npz).
"""

from mmengine.config import read_base
from wsss_plugins import classifiers

with read_base():
    from .attribution_methods import methods
vit_base = dict(
    type=classifiers.TimmClassifier,
    name='vit_base_patch16_224.orig_in21k_ft_in1k',
    pretrained=True,
)
deit_base = dict(vit_base, name='deit_base_patch16_224.fb_in1k')
_test = dict(methods=methods, dataset='images', batch_size=8)
# Stages of a test, which adds its `type`.
tests = dict(
    vit_base=dict(_test, model=vit_base), deit_base=dict(_test, model=deit_base)
)
