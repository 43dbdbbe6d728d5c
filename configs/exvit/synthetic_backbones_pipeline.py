"""Table 5 on the synthetic data set: CAM of E-MHA's tokens and of other encoders."""

from mmengine.config import read_base

from wsss_plugins.backbones import ExViT, TimmCNN
from wsss_plugins.seeds import CAM
from wsss_plugins.stages import EvaluateSeedStage, SeedStage, TrainStage

with read_base():
    from .synthetic_backbones import model
    from .synthetic_pipeline import images, masks

seed = 0
encoders = dict(
    vit=dict(model.backbone),
    emha=dict(model.backbone, type=ExViT, fuse_blocks=3, patch='fused', scale='tokens'),
    emha_unscaled=dict(model.backbone, type=ExViT, fuse_blocks=3, patch='fused'),
    resnet18=dict(type=TimmCNN, name='resnet18', output_stride=8),
)

pipeline = [
    stage
    for name, encoder in encoders.items()
    for stage in (
        dict(
            type=TrainStage,
            name=name,
            config='synthetic_backbones.py',
            options={'model.backbone': encoder},
        ),
        dict(
            type=SeedStage,
            name=f'{name}_cam',
            model=name,
            head=dict(type=CAM),
            dataset=images,
            batch_size=50,
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_score',
            seeds=f'{name}_cam',
            dataset=masks,
        ),
    )
]
