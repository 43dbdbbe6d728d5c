"""From a folder of photos and a table of tags to a mask of every photo; no masks needed.

    python tools/run_pipeline.py configs/folder/pipeline.py --data-root my_photos

No mask of these photos is needed: the threshold of the pseudo labels follows from the maps.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds, stages
from wsss_plugins.report import ReportStage

with read_base():
    from .._base_.folder_data import all_images, long_side, val_images

datasets = dict(images=all_images, val_images=val_images)
trainings = dict(
    classifier='../folder/classifier.py', segmentor='../folder/segmentor.py'
)

classifier = dict(type=stages.TrainStage, name='classifier', config='classifier')
maps = dict(
    type=stages.SeedStage,
    name='maps',
    model='classifier',
    # A tag is known to be right: its map is never empty, however the model doubts it.
    head=dict(type=seeds.CAM, floor='minimum'),
    dataset='images',
    max_side=long_side,
    scales=(1.0, 1.5),
    batch_size=1,
    half=True,
)
# Widths of the kernels are for photos of 500 px; a copy of that size is refined.
crf = dict(
    type=refiners.InPieces,
    max_side=500,
    refiners=[dict(type=refiners.DenseCRF, preset='psa', reference_size=500)],
)
pseudo = dict(
    type=stages.RefineStage,
    name='pseudo',
    seeds='maps',
    dataset='images',
    # The criterion that did best on the synthetic set, whose objects are small too.
    threshold='max_entropy',
    threshold_factor=0.9,  # the CRF takes away from objects: begin with more
    refiners=[dict(type=refiners.ConstantBackground), crf],
)
segmentor = dict(
    type=stages.TrainStage,
    name='segmentor',
    config='segmentor',
    label_maps='pseudo',
    backbone='classifier',
)
prediction = dict(
    type=stages.PredictStage,
    name='prediction',
    model='segmentor',
    dataset='images',
    max_side=long_side,
    scales=(1.0, 1.5),
)
report = dict(
    type=ReportStage,
    name='report',
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
pipeline = [classifier, maps, pseudo, segmentor, prediction, report]
