"""A linear layer on the patch tokens of DINOv2 ViT-S/14, frozen; timm fetches the weights."""

from mmengine.config import read_base

with read_base():
    from .cam import *
model.backbone.net.update(
    name='vit_small_patch14_dinov2',
    indices=(),
    pretrained=True,
    mean=None,  # timm's
    std=None,
    dynamic_img_size=True,
)
for _loader in (train_dataloader, val_dataloader):
    _loader.batch_sampler.multiple = 14
    _loader.dataset.pipeline[0].multiple = 14
