"""From image-level labels to mIoU on the synthetic data set: `make demo`."""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.refiners import ConstantBackground, DenseCRF
from wsss_plugins.seeds import (
    CAM,
    ACRGradientMap,
    AttentionGradCAM,
    AttentionRollout,
    GenericAttentionRelevance,
)
from wsss_plugins.stages import (
    EvaluateLabelStage,
    EvaluateSeedStage,
    PredictStage,
    RefineStage,
    SeedStage,
    TrainStage,
)

with read_base():
    from .._base_.synthetic_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='train')
masks = dict(images, label_maps='SegmentationClass', test_mode=True)
val_masks = dict(masks, split='val')

pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(
        type=SeedStage,
        name='cam',
        model='classifier',
        head=dict(type=CAM),
        dataset=images,
    ),
    dict(type=EvaluateSeedStage, name='cam_score', seeds='cam', dataset=masks),
    dict(
        type=SeedStage,
        name='acr',
        model='classifier',
        dataset=images,
        head=dict(type=ACRGradientMap, affinity=False),
    ),
    dict(type=EvaluateSeedStage, name='acr_score', seeds='acr', dataset=masks),
    dict(
        type=SeedStage,
        name='acr_aff',
        model='classifier',
        dataset=images,
        head=dict(type=ACRGradientMap),
    ),
    dict(type=EvaluateSeedStage, name='acr_aff_score', seeds='acr_aff', dataset=masks),
    dict(
        type=SeedStage,
        name='generic',
        model='classifier',
        dataset=images,
        head=dict(type=GenericAttentionRelevance),
    ),
    dict(type=EvaluateSeedStage, name='generic_score', seeds='generic', dataset=masks),
    dict(
        type=SeedStage,
        name='rollout',
        model='classifier',
        dataset=images,
        head=dict(type=AttentionRollout),
    ),
    dict(type=EvaluateSeedStage, name='rollout_score', seeds='rollout', dataset=masks),
    dict(
        type=SeedStage,
        name='grad_cam',
        model='classifier',
        dataset=images,
        head=dict(type=AttentionGradCAM),
    ),
    dict(
        type=EvaluateSeedStage, name='grad_cam_score', seeds='grad_cam', dataset=masks
    ),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='cam',
        dataset=images,
        threshold='cam_score',
        refiners=[
            dict(type=ConstantBackground),
            dict(type=DenseCRF, reference_size=500),
        ],
    ),
    dict(type=EvaluateLabelStage, name='pseudo_score', labels='pseudo', dataset=masks),
    dict(
        type=TrainStage,
        name='segmentor',
        config='../deeplabv2/synthetic.py',
        label_maps='pseudo',
    ),
    dict(
        type=PredictStage,
        name='prediction',
        model='segmentor',
        dataset=val_masks,
        scales=(0.75, 1.0, 1.25),
    ),
    dict(
        type=EvaluateLabelStage,
        name='prediction_score',
        labels='prediction',
        dataset=val_masks,
    ),
]
