"""ACR on Pascal VOC 2012: image-level labels -> seeds -> dense CRF -> DeepLabV2 -> mIoU.

AffinityNet, which the paper trains between the seeds and DeepLabV2, is left out; its stages
are those of ../psa/voc_pipeline.py.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.refiners import ConstantBackground, DenseCRF
from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.stages import (
    EvaluateLabelStage,
    EvaluateSeedStage,
    PredictStage,
    RefineStage,
    ReportStage,
    SeedStage,
    TrainStage,
)

with read_base():
    from .._base_.voc_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='train_aug')
# The paper measures seeds and pseudo labels on the 1,464 images of train.
train = dict(type=VOC12, data_root=data_root, split='train')
train_masks = dict(train, label_maps='SegmentationClass', test_mode=True)
val_masks = dict(train_masks, split='val')

pipeline = [
    dict(type=TrainStage, name='classifier', config='voc.py'),
    dict(
        type=SeedStage,
        name='acr',
        model='classifier',
        head=dict(type=ACRGradientMap, start_block=-2, affinity=True),
        dataset=images,
        input_size=(384, 384),
        align_corners=True,
        batch_size=4,
    ),
    dict(type=EvaluateSeedStage, name='acr_score', seeds='acr', dataset=train_masks),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='acr',
        dataset=images,
        threshold='acr_score',
        refiners=[dict(type=ConstantBackground), dict(type=DenseCRF, preset='acr')],
    ),
    dict(
        type=EvaluateLabelStage,
        name='pseudo_score',
        labels='pseudo',
        dataset=train_masks,
    ),
    dict(
        type=TrainStage,
        name='segmentor',
        config='../deeplabv2/voc_r101.py',
        label_maps='pseudo',
    ),
    dict(
        type=PredictStage,
        name='prediction',
        model='segmentor',
        dataset=val_masks,
        scales=(0.5, 0.75, 1.0, 1.25, 1.5),
        refiners=[dict(type=DenseCRF, preset='deeplab')],
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
        title='ACR on Pascal VOC 2012',
        dataset=train_masks,
        seeds=['acr_score'],
        labels='pseudo_score',
        predictions='prediction_score',
        prediction_dataset=val_masks,
    ),
]
