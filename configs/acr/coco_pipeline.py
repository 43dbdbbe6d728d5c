"""ACR on MS COCO 2014: tables 1 and 11, from image-level labels to segmentation.

PSA's AffinityNet learns from the maps without affinity refinement (ACR*), which have fewer
false positives, and refines the maps with it.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import COCO14
from wsss_plugins.refiners import DenseCRF, PowerBackground, RandomWalk
from wsss_plugins.seeds import ACRGradientMap
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
    from ..deeplabv2.coco_r101 import prediction as protocol

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
acr = dict(
    type=SeedStage,
    model='classifier',
    head=dict(type=ACRGradientMap, start_block=-2, affinity=True),
    dataset=images,
    input_size=(384, 384),
    align_corners=True,
    batch_size=4,
)
crf = dict(type=DenseCRF, preset='acr')
walk = [
    dict(type=PowerBackground, alpha=16),
    dict(type=RandomWalk, affinity='affinity', beta=8, log_steps=8, border='psa'),
]

pipeline = [
    dict(type=TrainStage, name='classifier', config='coco.py'),
    dict(
        acr,
        name='plain',
        head=dict(type=ACRGradientMap, start_block=-2, affinity=False),
    ),
    dict(type=EvaluateSeedStage, name='plain_score', seeds='plain', dataset=masks),
    dict(acr, name='acr'),
    dict(type=EvaluateSeedStage, name='acr_score', seeds='acr', dataset=masks),
    dict(
        type=ConfidentLabelStage,
        name='confident',
        seeds='plain',
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
        seeds='acr',
        dataset=images,
        refiners=[*walk, crf],
    ),
    dict(
        type=EvaluateLabelStage,
        name='pseudo_score',
        labels='pseudo',
        dataset=masks,
    ),
    dict(
        type=TrainStage,
        name='segmentor',
        config='../deeplabv2/coco_r101.py',
        label_maps='pseudo',
    ),
    dict(
        protocol,
        type=PredictStage,
        name='prediction',
        model='segmentor',
        dataset=val_masks,
    ),
    dict(
        type=EvaluateLabelStage,
        name='prediction_score',
        labels='prediction',
        dataset=val_masks,
    ),
    dict(
        type=ReportStage,
        name='report',
        title='ACR on MS COCO 2014',
        dataset=masks,
        seeds=['plain_score', 'acr_score'],
        labels='pseudo_score',
        predictions='prediction_score',
        prediction_dataset=val_masks,
    ),
]
