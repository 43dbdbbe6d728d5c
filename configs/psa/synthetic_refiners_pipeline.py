"""What each refiner makes of the same seeds: dense CRF, PAMR, random walk, and both.

The seeds, their background and the AffinityNet are those of synthetic_pipeline.py. No
threshold comes from masks: every row starts from the same background, PSA's.
"""

from mmengine.config import read_base
from wsss_plugins.refiners import PAMR, PowerBackground

with read_base():
    from .synthetic_pipeline import *
background = dict(type=PowerBackground)  # alpha 16, PSA's before its random walk
rows = dict(
    alone=[background],
    crf=[background, crf],
    pamr=[background, dict(type=PAMR)],
    walk=[background, random_walk],
    walk_crf=[background, random_walk, crf],
)
measured = [
    {
        name: dict(refine, seeds='attribution', refiners=refiners),
        f'{name}_score': dict(score_labels, labels=name),
    }
    for name, refiners in rows.items()
]
pipeline = [seeding, learnt, *measured]
