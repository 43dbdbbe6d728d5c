"""SEPL on Pascal VOC 2012: segments vote on the semantic pseudo labels of IRN.

SEPL has the segments of Segment Anything, one <id>.json for each photo. Give their folder:

    --cfg-options pipeline.voted.segments=FOLDER pipeline.voted.arguments={}
"""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from ..irn.voc_pipeline import *
trainings.update(
    classifier='../irn/voc_classifier.py',
    irn='../irn/voc.py',
    segmentor='../deeplabv2/voc_r101.py',
)
votes = dict(
    voted=dict(
        type=stages.SegmentVoteStage,
        labels='pseudo',
        dataset='images',
        segments='felzenszwalb',  # until there is a folder
        rule='max_iou_imp2',
        arguments=dict(scale=100, min_size=50),
    ),
    voted_score=dict(score_labels, labels='voted'),
)
segmentation.segmentor.label_maps = 'voted'
pipeline = [seeding, learnt, semantic, votes, segmentation]
