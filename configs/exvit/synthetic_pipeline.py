"""eX-ViT on the synthetic data set: maps, PSA refinement, CRF, DeepLabV2, mIoU."""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
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
    from .._base_.synthetic_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='train')
masks = dict(images, label_maps='SegmentationClass', test_mode=True)
val_masks = dict(masks, split='val')
crf = dict(type=DenseCRF, preset='psa', reference_size=500)
# Steps as in ../psa/synthetic_pipeline.py, chosen there on masks of 150 images.
walk = dict(type=RandomWalk, affinity='affinity', beta=16, log_steps=6)

pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(
        type=SeedStage,
        name='maps',
        model='classifier',
        head=dict(type=AttributeCAM),
        dataset=images,
        scales=(1.0, 1.5),
        batch_size=50,
    ),
    dict(type=EvaluateSeedStage, name='maps_score', seeds='maps', dataset=masks),
    # Table 1's second column: the maps with a dense CRF, without affinities.
    dict(
        type=RefineStage,
        name='crf',
        seeds='maps',
        dataset=images,
        threshold='otsu',
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
        config='../psa/synthetic_affinity.py',
        label_maps='confident',
        backbone='classifier',
    ),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='maps',
        dataset=images,
        refiners=[dict(type=PowerBackground, alpha=16), walk, crf],
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
        title='eX-ViT: from image-level labels to segmentation',
        notes=(
            'Synthetic images of 64 px, every network from scratch, from image-level '
            'labels only. No threshold of the pseudo labels comes from masks; the steps of '
            'the walk were chosen on those of 150 images.'
        ),
        dataset=masks,
        seeds=['maps_score'],
        labels='pseudo_score',
        predictions='prediction_score',
        prediction_dataset=val_masks,
    ),
]
