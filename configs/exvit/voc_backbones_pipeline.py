"""Table 5 of eX-ViT on Pascal VOC 2012: CAM of E-MHA's tokens and of CNNs.

ImageNet's weights are timm's, or your own: pipeline.0.options.... WideResNet38's file is
the one that PSA converted.
"""

from mmengine.config import read_base

from wsss_plugins.backbones import CNNBackbone, ExViT, TimmCNN, WideResNet38
from wsss_plugins.seeds import CAM
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .voc_pipeline import maps, masks

seed = 0
train_images = dict(masks, label_maps=None)
encoders = dict(
    emha=dict(
        type=ExViT,
        name='deit_small_patch16_224',
        pretrained=True,
        fuse_blocks=3,
        patch='fused',
        scale='tokens',
    ),
    resnet50=dict(
        type=TimmCNN,
        name='resnet50',
        output_stride=16,
        pretrained=True,
        frozen=('conv1', 'bn1', 'layer1'),
    ),
    resnet38=dict(
        type=CNNBackbone,
        net=dict(type=WideResNet38),
        pretrained='data/pretrained/resnet38_ilsvrc.pth',
    ),
)

pipeline = [
    stage
    for name, encoder in encoders.items()
    for stage in (
        dict(
            type=TrainStage,
            name=name,
            config='voc_backbones.py',
            options={
                'model.backbone': encoder,
                'pretrained_supervision': 'ImageNet labels',
            },
        ),
        dict(
            maps,
            name=f'{name}_cam',
            model=name,
            head=dict(type=CAM),
            dataset=train_images,
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_score',
            seeds=f'{name}_cam',
            dataset=masks,
        ),
    )
]
