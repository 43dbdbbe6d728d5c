"""Table 4 of the ReScience paper: hybrid ViT, AffinityNet and random walk on VOC 2012.

Published mIoU on val, in percent: seeds 44.6, with AffinityNet 50.9. Pseudo labels of
train_aug, for a segmentor, are made as well.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.refiners import (
    ConstantBackground,
    DenseCRF,
    PowerBackground,
    PowerScores,
    RandomWalk,
)
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
    from .._base_.voc_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='train_aug')
val_images = dict(images, split='val')
masks = dict(images, split='train', label_maps='SegmentationClass', test_mode=True)
val_masks = dict(masks, split='val')
attribution = dict(
    type=SeedStage,
    model='classifier',
    head=dict(type=TransformerAttribution),
    input_size=(448, 448),
    batch_size=4,
)
# The cube root of the attribution; where it is below 0.2 there is background.
root = [
    dict(type=PowerScores, power=1 / 3),
    dict(type=ConstantBackground, threshold=0.2),
]
walk = [
    dict(type=PowerBackground, alpha=4),
    # The paper's t = 8 counts squarings in its code.
    dict(type=RandomWalk, affinity='affinity', beta=16, log_steps=8, border='psa'),
]

pipeline = [
    dict(type=TrainStage, name='classifier', config='voc.py'),
    dict(attribution, name='attribution', dataset=images),
    dict(
        type=RefineStage,
        name='seeds',
        seeds='attribution',
        dataset=images,
        refiners=root,
        soft=True,
    ),
    dict(
        type=ConfidentLabelStage,
        name='confident',
        seeds='seeds',
        dataset=images,
        alpha_low=4,
        alpha_high=32,
        refiners=[dict(type=PowerBackground), dict(type=DenseCRF, preset='psa')],
    ),
    dict(
        type=TrainStage,
        name='affinity',
        config='voc_affinity.py',
        label_maps='confident',
        backbone='classifier',
    ),
    dict(type=RefineStage, name='pseudo', seeds='seeds', dataset=images, refiners=walk),
    dict(type=EvaluateLabelStage, name='pseudo_score', labels='pseudo', dataset=masks),
    dict(attribution, name='val_attribution', dataset=val_images),
    dict(
        type=RefineStage,
        name='val_seeds',
        seeds='val_attribution',
        dataset=val_images,
        refiners=root,
        soft=True,
    ),
    dict(
        type=EvaluateSeedStage, name='val_sweep', seeds='val_seeds', dataset=val_masks
    ),
    dict(
        type=EvaluateLabelStage,
        name='val_seeds_score',
        labels='val_seeds',
        dataset=val_masks,
    ),
    dict(
        type=RefineStage,
        name='val_walked',
        seeds='val_seeds',
        dataset=val_images,
        refiners=walk,
    ),
    dict(
        type=EvaluateLabelStage,
        name='val_walked_score',
        labels='val_walked',
        dataset=val_masks,
    ),
    dict(
        type=ReportStage,
        name='report',
        title='Transformer attribution and AffinityNet on Pascal VOC 2012',
        dataset=val_masks,
        seeds=['val_sweep'],
        labels='val_walked_score',
    ),
]
