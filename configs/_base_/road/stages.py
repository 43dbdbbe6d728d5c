"""Stages from a classifier to a segmentor, with the arguments that most pipelines use."""

from wsss_plugins import stages
from wsss_plugins.report import ReportStage

train = dict(type=stages.TrainStage, config='classifier')
look = dict(type=stages.SeedStage, model='classifier', dataset='images')
score = dict(type=stages.EvaluateSeedStage, dataset='masks')
refine = dict(type=stages.RefineStage, dataset='images')
score_labels = dict(type=stages.EvaluateLabelStage, dataset='masks')
maps_report = dict(type=ReportStage, name='report', dataset='masks')

# A segmentor trained on pseudo labels, its predictions, and their mIoU.
segmentation = dict(
    segmentor=dict(type=stages.TrainStage, config='segmentor', label_maps='pseudo'),
    prediction=dict(type=stages.PredictStage, model='segmentor', dataset='val_masks'),
    prediction_score=dict(score_labels, labels='prediction', dataset='val_masks'),
)
report = dict(
    maps_report,
    labels='pseudo_score',
    predictions='prediction_score',
    prediction_dataset='val_masks',
)
