"""eX-ViT on MS COCO 2014: table 3, from image-level labels to segmentation.

Maps, PSA's AffinityNet and random walk, dense CRF, DeepLabV2 with ResNet38 (the paper's)
and with ResNet-101.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import COCO14
from wsss_plugins.refiners import (
    ConstantBackground,
    DenseCRF,
    PowerBackground,
    RandomWalk,
)
from wsss_plugins.seeds import AttributeCAM
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import (
    ConfidentLabelStage,
    EvaluateLabelStage,
    EvaluateSeedStage,
    PredictStage,
    RefineStage,
    SeedStage,
    TrainStage,
)

with read_base():
    from .._base_.coco_data import data_root
    from ..deeplabv2.coco_r101 import prediction as r101_protocol
    from ..deeplabv2.coco_resnet38 import prediction as resnet38_protocol

seed = 0
images = dict(type=COCO14, data_root=data_root, split='train2014', drop_unlabelled=True)
masks = dict(images, label_maps='SegmentationClass/train2014', test_mode=True)
val_masks = dict(
    type=COCO14,
    data_root=data_root,
    split='val2014',
    label_maps='SegmentationClass/val2014',
    test_mode=True,
)
crf = dict(type=DenseCRF, preset='psa')
maps = dict(
    type=SeedStage,
    model='classifier',
    head=dict(type=AttributeCAM),
    dataset=images,
    scales=(0.5, 1.0, 1.5, 2.0),
    batch_size=4,
)
walk = [
    dict(type=PowerBackground, alpha=16),
    dict(type=RandomWalk, affinity='affinity', beta=8, log_steps=8, border='psa'),
]

pipeline = [
    dict(type=TrainStage, name='classifier', config='coco.py'),
    dict(maps, name='maps'),
    dict(type=EvaluateSeedStage, name='maps_score', seeds='maps', dataset=masks),
    # Table 1, '+ denseCRF'.
    dict(
        type=RefineStage,
        name='crf',
        seeds='maps',
        dataset=images,
        threshold='maps_score',
        refiners=[dict(type=ConstantBackground), crf],
    ),
    dict(type=EvaluateLabelStage, name='crf_score', labels='crf', dataset=masks),
    dict(
        type=ConfidentLabelStage,
        name='confident',
        seeds='maps',
        dataset=images,
        alpha_low=4,
        alpha_high=32,
        refiners=[dict(type=PowerBackground), crf],
    ),
    dict(
        type=TrainStage,
        name='affinity',
        config='../psa/coco_affinity_resnet38.py',
        label_maps='confident',
    ),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='maps',
        dataset=images,
        refiners=[*walk, crf],
    ),
    dict(type=EvaluateLabelStage, name='pseudo_score', labels='pseudo', dataset=masks),
    dict(
        type=TrainStage,
        name='resnet38',
        config='../deeplabv2/coco_resnet38.py',
        label_maps='pseudo',
    ),
    dict(
        resnet38_protocol,
        type=PredictStage,
        name='resnet38_val',
        model='resnet38',
        dataset=val_masks,
    ),
    dict(
        type=EvaluateLabelStage,
        name='resnet38_score',
        labels='resnet38_val',
        dataset=val_masks,
    ),
    dict(
        type=TrainStage,
        name='r101',
        config='../deeplabv2/coco_r101.py',
        label_maps='pseudo',
    ),
    dict(
        r101_protocol,
        type=PredictStage,
        name='r101_val',
        model='r101',
        dataset=val_masks,
    ),
    dict(
        type=EvaluateLabelStage, name='r101_score', labels='r101_val', dataset=val_masks
    ),
    dict(
        type=ReportStage,
        name='report',
        title='eX-ViT on MS COCO 2014',
        dataset=masks,
        seeds=['maps_score'],
        labels='pseudo_score',
        predictions='resnet38_score',
        prediction_dataset=val_masks,
    ),
]
