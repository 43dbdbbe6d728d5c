"""From a folder of photos and a table of tags to a mask of every photo; no masks needed.

    wsss run folder/pipeline --data-root my_photos

No mask of these photos is needed: the threshold of the pseudo labels follows from the maps.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from .._base_.folder_data import all_images, long_side, val_images
    from .._base_.road.stages import *
datasets = dict(images=all_images, val_images=val_images)
trainings = dict(
    classifier='../folder/classifier.py', segmentor='../folder/segmentor.py'
)
_size = dict(max_side=long_side, scales=(1.0, 1.5))
# A tag is known to be right: its map is never empty, however the model doubts it.
head = dict(type=seeds.CAM, floor='minimum')
maps = dict(look, **_size, head=head, batch_size=1, half=True)
# Widths of the kernels are for photos of 500 px; a copy of that size is refined.
crf = dict(type=refiners.DenseCRF, preset='psa', reference_size=500)
pseudo = dict(
    refine,
    seeds='maps',
    # The criterion that did best on the synthetic set, whose objects are small too.
    threshold='max_entropy',
    threshold_factor=0.9,  # the CRF takes away from objects: begin with more
    refiners=[
        dict(type=refiners.ConstantBackground),
        dict(type=refiners.InPieces, max_side=500, refiners=[crf]),
    ],
)
segmentor = dict(segmentation.segmentor, backbone='classifier')
prediction = dict(segmentation.prediction, **_size, dataset='images')
report.update(
    title='From tags to masks',
    notes=(
        'Maps, pseudo labels and predictions of photos that have tags and no masks: '
        'nothing here is measured but the mean average precision of the tags, so look '
        'at the pictures.'
    ),
    dataset='images',
    seeds=['maps'],
    labels='pseudo',
    predictions='prediction',
    prediction_dataset='val_images',
)
pipeline = dict(
    classifier=train,
    maps=maps,
    pseudo=pseudo,
    segmentor=segmentor,
    prediction=prediction,
    report=report,
)
