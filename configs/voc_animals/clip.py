"""A linear layer on the patch tokens of the image encoder of CLIP ViT-B/16, frozen."""

from mmengine.config import read_base

with read_base():
    from .dinov2 import *
model.backbone.net.name = 'vit_base_patch16_clip_224.openai'
for _loader in (train_dataloader, val_dataloader):
    _loader.batch_sampler.multiple = 16
    _loader.dataset.pipeline[0].multiple = 16
