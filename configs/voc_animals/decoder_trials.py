"""Why the segmentor of pipeline.py is as it is: each choice changed alone.

Scored on val at one scale, mirrored, without CRF, beside plain_score. Shares the work dir of
pipeline.py.
"""

from mmengine.config import read_base

with read_base():
    from .pipeline import *
trainings.update(deeplab='deeplab.py')
_even = {'model.decode_head.loss_decode.class_weight': None}
_rows = dict(
    first_segmentor=first_round['first_segmentor'],
    even_weights=dict(segmentation.segmentor, options=_even),
    deeplab=dict(segmentation.segmentor, config='deeplab'),
)
_trials = [
    {
        name: training,
        f'{name}_plain': dict(segmentation.plain, model=name),
        f'{name}_plain_score': dict(segmentation.plain_score, labels=f'{name}_plain'),
    }
    for name, training in _rows.items()
]
first_round = dict(first_round, **_trials.pop(0))
pipeline = [seeding, pseudo_labels, first_round, segmentation, *_trials]
