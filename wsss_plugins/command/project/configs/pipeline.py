"""The pipeline of acr/synthetic_pipeline, with pseudo labels made of the seeds of my_project."""

from mmengine.config import read_base
from my_project.heads import SharpenedCAM

with read_base():
    from wsss_plugins.configs.acr.synthetic_pipeline import *

trainings.update(classifier='acr/synthetic', segmentor='deeplabv2/synthetic')
pseudo_labels.pseudo.update(seeds='mine', threshold='mine_score')
report.update(seeds=['cam_score', 'mine_score'])
mine = dict(
    mine=dict(look, head=dict(type=SharpenedCAM, power=1.5)),
    mine_score=dict(score, seeds='mine'),
)
pipeline = [*seeding, mine, pseudo_labels, segmentation, report]
