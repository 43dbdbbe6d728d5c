"""From image-level labels to mIoU on the synthetic data set: `make demo`.

Six seed heads read one ACR classifier. The pseudo labels are made of the plain CAM: from
scratch on 2,000 images it measures best, see docs/results.md.
"""

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
    from .._base_.synthetic_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='train')
masks = dict(images, label_maps='SegmentationClass', test_mode=True)
val_masks = dict(masks, split='val')
from_classifier = dict(
    type=SeedStage, model='classifier', dataset=images, batch_size=50
)

pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(from_classifier, name='cam', head=dict(type=CAM)),
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
        threshold_factor=0.8,  # the CRF takes away from objects: begin with more
        # Widths of the kernels are for photos of 500 px and are scaled to 64.
        refiners=[
            dict(type=ConstantBackground),
            dict(type=DenseCRF, preset='psa', reference_size=500),
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
    dict(
        type=ReportStage,
        name='report',
        title='From image-level labels to segmentation',
        notes=(
            'Synthetic images of 64 px, every network from scratch. The classifier saw '
            'image-level labels only, and no network was trained on a ground-truth mask. '
            'One number comes from masks: the threshold that the pseudo labels start from.'
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
        prediction_dataset=val_masks,
    ),
]
