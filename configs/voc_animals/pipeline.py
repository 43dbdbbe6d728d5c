"""From image-level labels to masks on the animals of Pascal VOC 2012, on two cores.

    wsss run voc_animals/pipeline --data-root VOC2012

All 20 classes are trained and predicted; means are over the background and the five
animals that the photos were chosen for. No threshold comes from masks.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds, stages

with read_base():
    from .._base_.frozen_data import network
    from .._base_.road.affinity import crf, pseudo_labels, walk
    from .._base_.road.stages import *
    from .._base_.road.voc import datasets
experiment = 'voc_animals/pipeline'  # whose work dir configs that read this one share
animals = dict(mean_over=('cat', 'cow', 'dog', 'horse', 'sheep'))
kept = dict(features='features')
datasets.images.split = 'train'
trainings = dict(
    classifier='cam.py',
    affinity='affinity.py',
    segmentor='decoder.py',
    hybrid='hybrid.py',
)
features = dict(
    type=stages.FeatureStage,
    network=network,
    dataset=[datasets.images, datasets.val_images],
)
for _stage in (train, segmentation.segmentor, pseudo_labels.affinity):
    _stage.update(kept)
for _stage in (
    score,
    score_labels,
    segmentation.prediction_score,
    pseudo_labels.pseudo_score,
):
    _stage.update(animals)
maps = dict(look, **kept, head=dict(type=seeds.CAM), max_side=448, half=True)
label_crf = dict(
    crf=dict(
        refine,
        seeds='maps',
        threshold='foreground_share',
        threshold_factor=0.8,
        refiners=[dict(type=refiners.ConstantBackground), crf],
    ),
    crf_score=dict(score_labels, labels='crf'),
)
# The maps are best cut at 0.02, and PSA's backgrounds, which meet the scores at 0.28, 0.14
# and 0.08, would take the objects. A root lifts it: 0.02 becomes 0.14 and 0.46.
square_root, fifth_root = (dict(type=refiners.PowerScores, power=p) for p in (0.5, 0.2))
smooth = dict(type=refiners.DenseCRF, preset='deeplab')
pseudo_labels.confident.refiners = [square_root, *pseudo_labels.confident.refiners]
pseudo_labels.pseudo.refiners = [fifth_root, *walk, smooth]
segmentation.prediction.update(
    kept,
    max_side=448,
    scales=(0.75, 1.0, 1.25),
    refiners=[smooth],
    refine_above=0.05,  # a dense CRF of 21 labels takes five times as long as of three
)
plain = dict(scales=(1.0,), refiners=[])
segmentation.update(
    plain=dict(segmentation.prediction, **plain),
    plain_score=dict(segmentation.prediction_score, labels='plain'),
)
# The second round learns what the segmentor of the first sees in the training photos,
# among the tags of each.
first_round = dict(
    first_segmentor=dict(segmentation.segmentor),
    relabelled=dict(
        segmentation.prediction,
        model='first_segmentor',
        dataset='images',
        scales=(1.0,),
        only_tagged=True,
    ),
    relabelled_score=dict(score_labels, labels='relabelled'),
)
segmentation.segmentor.label_maps = 'relabelled'
report.update(title='Animals of Pascal VOC 2012', seeds=['maps_score'])
seeding = dict(
    features=features, classifier=train, maps=maps, maps_score=dict(score, seeds='maps')
)
pipeline = [seeding, label_crf, pseudo_labels, first_round, segmentation]
pipeline.append(dict(report=report))
