"""Table 5 of eX-ViT on the synthetic set: CAM of E-MHA's tokens and of other encoders."""

from mmengine.config import read_base
from wsss_plugins import backbones, seeds

with read_base():
    from .._base_.road.exvit import score, train
    from .synthetic_backbones import model
    from .synthetic_pipeline import datasets, maps
trainings = dict(classifier='synthetic_backbones.py')
fused = dict(model.backbone, type=backbones.ExViT, fuse_blocks=3, patch='fused')
encoders = dict(
    vit=dict(model.backbone),
    emha=dict(fused, scale='tokens'),
    emha_unscaled=fused,
    resnet18=dict(type=backbones.TimmCNN, name='resnet18', output_stride=8),
)
pipeline = [
    {
        name: dict(train, options={'model.backbone': encoder}),
        f'{name}_cam': dict(maps, head=dict(type=seeds.CAM), model=name),
        f'{name}_score': dict(score, seeds=f'{name}_cam'),
    }
    for name, encoder in encoders.items()
]
