"""The ViT-B/16 whose maps Chefer et al. test, and DeiT-B of the same size.

A file takes the place of a download: pretrained='FILE' (.pth, .safetensors or .npz).
"""

from wsss_plugins import classifiers

vit_base = dict(
    type=classifiers.TimmClassifier,
    name='vit_base_patch16_224.orig_in21k_ft_in1k',
    pretrained=True,
)
deit_base = dict(
    type=classifiers.TimmClassifier,
    name='deit_base_patch16_224.fb_in1k',
    pretrained=True,
)
