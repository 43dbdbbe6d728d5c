"""The whole road on 128 real COCO photos, from scratch.

A trial on real photos, not a result: 128 photos cannot teach 80 classes, there are no
pretrained weights, and the photos that are scored are those that were trained on.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import COCO14
from wsss_plugins.refiners import ConstantBackground, DenseCRF
from wsss_plugins.seeds import (
    CAM,
    ACRGradientMap,
    AttentionGradCAM,
    AttentionRollout,
    GenericAttentionRelevance,
)
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import (
    EvaluateLabelStage,
    EvaluateSeedStage,
    PredictStage,
    RefineStage,
    SeedStage,
    TrainStage,
)

with read_base():
    from .._base_.coco128_data import data_root, label_maps, split

seed = 0
images = dict(type=COCO14, data_root=data_root, split=split)
masks = dict(images, label_maps=label_maps, test_mode=True, drop_unlabelled=True)
from_classifier = dict(
    type=SeedStage,
    model='classifier',
    dataset=images,
    input_size=(224, 288),
    batch_size=8,
)

pipeline = [
    dict(type=TrainStage, name='classifier', config='coco128.py'),
    # The model doubts most of the 80 classes: their logits are negative everywhere.
    dict(from_classifier, name='cam', head=dict(type=CAM, floor='minimum')),
    dict(type=EvaluateSeedStage, name='cam_score', seeds='cam', dataset=masks),
    dict(from_classifier, name='acr', head=dict(type=ACRGradientMap, affinity=False)),
    dict(type=EvaluateSeedStage, name='acr_score', seeds='acr', dataset=masks),
    dict(from_classifier, name='acr_affinity', head=dict(type=ACRGradientMap)),
    dict(
        type=EvaluateSeedStage,
        name='acr_affinity_score',
        seeds='acr_affinity',
        dataset=masks,
    ),
    dict(from_classifier, name='generic', head=dict(type=GenericAttentionRelevance)),
    dict(type=EvaluateSeedStage, name='generic_score', seeds='generic', dataset=masks),
    dict(from_classifier, name='rollout', head=dict(type=AttentionRollout)),
    dict(type=EvaluateSeedStage, name='rollout_score', seeds='rollout', dataset=masks),
    dict(from_classifier, name='grad_cam', head=dict(type=AttentionGradCAM)),
    dict(
        type=EvaluateSeedStage, name='grad_cam_score', seeds='grad_cam', dataset=masks
    ),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='cam',
        dataset=images,
        threshold='cam_score',
        threshold_factor=0.8,
        refiners=[dict(type=ConstantBackground), dict(type=DenseCRF)],
    ),
    dict(type=EvaluateLabelStage, name='pseudo_score', labels='pseudo', dataset=masks),
    dict(
        type=TrainStage,
        name='segmentor',
        config='../deeplabv2/coco128.py',
        label_maps='pseudo',
    ),
    dict(
        type=PredictStage,
        name='prediction',
        model='segmentor',
        dataset=masks,
        scales=(0.3, 0.4),
    ),
    dict(
        type=EvaluateLabelStage,
        name='prediction_score',
        labels='prediction',
        dataset=masks,
    ),
    dict(
        type=ReportStage,
        name='report',
        title='From image-level labels to segmentation on 128 COCO photos',
        notes=(
            'A trial of the road on real photos, not a result: no pretrained weights, '
            '80 classes from 128 photos, and scored on the photos it was trained on.'
        ),
        dataset=masks,
        seeds=[
            'cam_score',
            'acr_score',
            'acr_affinity_score',
            'generic_score',
            'rollout_score',
            'grad_cam_score',
        ],
        labels='pseudo_score',
        predictions='prediction_score',
        prediction_dataset=masks,
    ),
]
