"""Table 5 of eX-ViT on Pascal VOC 2012: CAM of E-MHA's tokens and of CNNs.

ImageNet's weights are timm's, or your own: pipeline.emha.options.... WideResNet38's file
is the one that PSA converted.
"""

from mmengine.config import read_base
from wsss_plugins import backbones, seeds

with read_base():
    from .._base_.road.exvit import maps, score, train
    from .._base_.road.voc import datasets
    from .voc_backbones import model
trainings = dict(classifier='voc_backbones.py')
datasets.update(train_images=dict(datasets.masks, label_maps=None))
encoders = dict(
    emha=dict(model.backbone),
    resnet50=dict(
        type=backbones.TimmCNN,
        name='resnet50',
        output_stride=16,
        pretrained=True,
        frozen=('conv1', 'bn1', 'layer1'),
    ),
    resnet38=dict(
        type=backbones.CNNBackbone,
        net=dict(type=backbones.WideResNet38),
        pretrained='data/pretrained/resnet38_ilsvrc.pth',
    ),
)
learnt = {'pretrained_supervision': 'ImageNet labels'}
cam = dict(maps, head=dict(type=seeds.CAM), dataset='train_images')
pipeline = [
    {
        name: dict(train, options={'model.backbone': encoder, **learnt}),
        f'{name}_cam': dict(cam, model=name),
        f'{name}_score': dict(score, seeds=f'{name}_cam'),
    }
    for name, encoder in encoders.items()
]
