"""Table 4 of the ReScience paper: hybrid ViT, AffinityNet and random walk on VOC 2012.

Published mIoU on val, in percent: seeds 44.6, with AffinityNet 50.9. Pseudo labels of
train_aug, for a segmentor, are made as well. The report shows figures 1 and 13 to 24.
"""

from mmengine.config import read_base
from wsss_plugins import refiners
from wsss_plugins.seeds import TransformerAttribution

with read_base():
    from .._base_.road.affinity import pseudo_labels, walk
    from .._base_.road.stages import *
    from .._base_.road.voc import datasets
_, _walk = walk
trainings = dict(classifier='voc.py', affinity='voc_affinity.py')
attribution = dict(
    look, head=dict(type=TransformerAttribution), input_size=(448, 448), batch_size=4
)
# The cube root of the attribution; where it is below 0.2 there is background.
seeds = dict(
    refine,
    seeds='attribution',
    refiners=[
        dict(type=refiners.PowerScores, power=1 / 3),
        dict(type=refiners.ConstantBackground, threshold=0.2),
    ],
    soft=True,
)
pseudo_labels.confident.update(seeds='seeds')
pseudo_labels.affinity.update(backbone='classifier')
pseudo_labels.pseudo.update(
    seeds='seeds',
    refiners=[
        dict(type=refiners.PowerBackground, alpha=4),
        # The paper's t = 8 counts squarings in its code.
        dict(_walk, beta=16, log_steps=8),
    ],
)
score_labels.update(dataset='val_masks')
on_val = dict(
    val_attribution=dict(attribution, dataset='val_images'),
    val_seeds=dict(seeds, seeds='val_attribution', dataset='val_images'),
    val_sweep=dict(score, seeds='val_seeds', dataset='val_masks'),
    val_seeds_score=dict(score_labels, labels='val_seeds'),
    val_walked=dict(pseudo_labels.pseudo, seeds='val_seeds', dataset='val_images'),
    val_walked_score=dict(score_labels, labels='val_walked'),
    report=dict(
        maps_report,
        title='Transformer attribution and AffinityNet on Pascal VOC 2012',
        dataset='val_masks',
        seeds=['val_sweep'],
        labels='val_walked_score',
    ),
)
seeding = dict(classifier=train, attribution=attribution, seeds=seeds)
pipeline = [seeding, pseudo_labels, on_val]
