"""Transformer attribution, AffinityNet and random walk on the synthetic data set.

The twin of voc_pipeline.py: the same stages on images of 64 px, every network from
scratch.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.refiners import DenseCRF, PowerBackground, RandomWalk
from wsss_plugins.seeds import TransformerAttribution
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import (
    ConfidentLabelStage,
    EvaluateLabelStage,
    EvaluateSeedStage,
    RefineStage,
    SeedStage,
    TrainStage,
)

with read_base():
    from .._base_.synthetic_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='train')
masks = dict(images, label_maps='SegmentationClass', test_mode=True)
# Widths of the kernels are for photos of 500 px and are scaled to 64.
crf = dict(type=DenseCRF, preset='psa', reference_size=500)
# 256 steps suit the 56x56 cells of a photo; 32x32 cells are crossed in fewer.
walk = dict(type=RandomWalk, affinity='affinity', beta=16, log_steps=6)

pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(
        type=SeedStage,
        name='attribution',
        model='classifier',
        head=dict(type=TransformerAttribution),
        dataset=images,
        batch_size=50,
    ),
    dict(
        type=EvaluateSeedStage,
        name='attribution_score',
        seeds='attribution',
        dataset=masks,
    ),
    dict(
        type=ConfidentLabelStage,
        name='confident',
        seeds='attribution',
        dataset=images,
        alpha_low=4,
        alpha_high=32,
        refiners=[dict(type=PowerBackground), crf],
    ),
    dict(
        type=TrainStage,
        name='affinity',
        config='synthetic_affinity.py',
        label_maps='confident',
        backbone='classifier',
    ),
    dict(
        type=RefineStage,
        name='walked',
        seeds='attribution',
        dataset=images,
        refiners=[dict(type=PowerBackground, alpha=16), walk],
        soft=True,
    ),
    dict(type=EvaluateLabelStage, name='walked_score', labels='walked', dataset=masks),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='walked',
        dataset=images,
        refiners=[crf],
    ),
    dict(type=EvaluateLabelStage, name='pseudo_score', labels='pseudo', dataset=masks),
    dict(
        type=ReportStage,
        name='report',
        title='Transformer attribution, AffinityNet and random walk',
        notes=(
            'Synthetic images of 64 px, every network from scratch, from image-level '
            'labels only. No threshold comes from masks; the steps of the walk were chosen '
            'on those of 150 images.'
        ),
        dataset=masks,
        seeds=['attribution_score'],
        labels='pseudo_score',
    ),
]
