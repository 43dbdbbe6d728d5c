"""The twin of voc_pipeline.py on the synthetic set: tables 1 to 3 of ACR.

PSA's AffinityNet learns from the maps without affinity refinement and refines those with
it; then CRF, DeepLabV2 and mIoU. No threshold comes from masks. From the pretrained start:
--cfg-options pipeline.0.config=synthetic_pretrained.py
"""

from mmengine.config import read_base

from wsss_plugins.refiners import DenseCRF, PowerBackground, RandomWalk
from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import (
    ConfidentLabelStage,
    EvaluateLabelStage,
    EvaluateSeedStage,
    PredictStage,
    RefineStage,
    TrainStage,
)

with read_base():
    from .synthetic_pipeline import from_classifier, images, masks, val_masks

seed = 0
crf = dict(type=DenseCRF, preset='psa', reference_size=500)
# Steps as in ../psa/synthetic_pipeline.py, chosen there on masks of 150 images.
walk = dict(type=RandomWalk, affinity='affinity', beta=16, log_steps=6)

pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(from_classifier, name='plain', head=dict(type=ACRGradientMap, affinity=False)),
    dict(type=EvaluateSeedStage, name='plain_score', seeds='plain', dataset=masks),
    dict(from_classifier, name='acr', head=dict(type=ACRGradientMap)),
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
        config='../psa/synthetic_affinity.py',
        label_maps='confident',
        backbone='classifier',
    ),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='acr',
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
        title='ACR with PSA on synthetic images',
        notes=(
            'Synthetic images of 64 px, every network from scratch, from image-level '
            'labels only. No threshold of the pseudo labels comes from masks; the steps of '
            'the walk were chosen on those of 150 images.'
        ),
        dataset=masks,
        seeds=['plain_score', 'acr_score'],
        labels='pseudo_score',
        predictions='prediction_score',
        prediction_dataset=val_masks,
    ),
]
