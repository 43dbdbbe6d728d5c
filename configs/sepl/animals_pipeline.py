"""SEPL on the animals of Pascal VOC 2012: votes of superpixels, with and without a CRF.

    python tools/run_pipeline.py configs/sepl/animals_pipeline.py --data-root VOC2012

Features, maps and the labels with a CRF are those of configs/voc_animals/pipeline.py, whose
work dir it shares.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.road.sepl import scores, votes
    from ..voc_animals.pipeline import *
trainings = dict(classifier='../voc_animals/cam.py')
_background, _ = label_crf.crf.refiners
plain = dict(
    plain=dict(label_crf.crf, refiners=[_background]),
    plain_score=dict(score_labels, labels='plain'),
)
for _score in scores.values():
    _score.update(animals)
pipeline = [seeding, label_crf, plain, votes, scores]
