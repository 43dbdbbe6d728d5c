"""Pseudo labels by PSA on the synthetic set, whose images are 64 px wide."""

from mmengine.config import read_base
from wsss_plugins import refiners

with read_base():
    from .affinity import pseudo_labels
# Widths of the kernels are for photos of 500 px and are scaled to 64.
crf = dict(type=refiners.DenseCRF, preset='psa', reference_size=500)
# 256 steps suit the 56x56 cells of a photo; 32x32 cells are crossed in fewer. They were
# chosen on masks of 150 images, see ../../psa/synthetic_pipeline.py.
random_walk = dict(type=refiners.RandomWalk, affinity='affinity', beta=16, log_steps=6)
walk = [dict(type=refiners.PowerBackground, alpha=16), random_walk]
notes = (
    'Synthetic images of 64 px, every network from scratch, from image-level '
    'labels only. No threshold of the pseudo labels comes from masks; the steps of '
    'the walk were chosen on those of 150 images.'
)
pseudo_labels.confident.update(refiners=[dict(type=refiners.PowerBackground), crf])
pseudo_labels.affinity.update(backbone='classifier')
pseudo_labels.pseudo.update(refiners=[*walk, crf])
