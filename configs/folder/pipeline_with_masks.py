"""The same with masks of some photos, drawn by hand, to measure what it is worth.

Masks are ``masks/<photo>.png`` beside the table: 0 background, 1 the first class, 2 the
second (in the order of the alphabet, or of classes.txt), 255 not counted. At least one
photo of each split, 'train' and 'val', needs one. Networks and pseudo labels are those of
pipeline.py: they see no mask.
"""

from mmengine.config import read_base

with read_base():
    from .pipeline import *
some = dict(label_maps='masks', only_with_maps=True, test_mode=True)
datasets.update(masks=dict(all_images, **some), val_masks=dict(val_images, **some))
report.update(
    notes=(
        'Photos with tags; masks of some of them only measure. Maps and pseudo labels '
        'are scored on all photos with a mask, predictions on those that no network '
        'was trained on.'
    ),
    dataset='masks',
    seeds=['maps_score'],
    labels='pseudo_score',
    predictions='prediction_score',
    prediction_dataset='val_masks',
)
pipeline = dict(
    classifier=train,
    maps=maps,
    maps_score=dict(score, seeds='maps'),
    pseudo=pseudo,
    pseudo_score=dict(score_labels, labels='pseudo'),
    segmentor=segmentor,
    prediction=prediction,
    prediction_score=segmentation.prediction_score,
    report=report,
)
