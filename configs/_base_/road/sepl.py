"""Votes of superpixels on pseudo labels, by SEPL's rule and by overlap.

Reads the stages 'plain' and 'crf', pseudo labels without and with a dense CRF. Segments of
another tool take the place of the superpixels:

    --cfg-options pipeline.plain_felzenszwalb_sepl.segments=FOLDER
"""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .stages import score_labels
superpixels = dict(
    felzenszwalb=dict(segments='felzenszwalb', arguments=dict(scale=100, min_size=50)),
    slic=dict(segments='slic', arguments=dict(n_segments=200, compactness=10)),
)
rules = dict(sepl='max_iou_imp2', overlap='overlap')
_vote = dict(type=stages.SegmentVoteStage, dataset='images')
votes = {
    f'{labels}_{name}_{rule}': dict(_vote, labels=labels, rule=rules[rule], **cut)
    for labels in ('plain', 'crf')
    for name, cut in superpixels.items()
    for rule in rules
}
scores = {f'{name}_score': dict(score_labels, labels=name) for name in votes}
