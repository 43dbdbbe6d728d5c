"""Which way attention spreads maps better on the synthetic set, from both starts.

Refined by ACR, a patch takes from those that it attends to; given, it gives to them.
Both classifiers see two views and learn without consistency.
"""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .synthetic_psa_pipeline import *
    from .._base_.acr_ablations import regularisations
trainings = dict(scratch='synthetic.py', pretrained='synthetic_pretrained.py')
train.update(options=regularisations.baseline)
given = dict(
    type=seeds.AffinityRefined,
    head=dict(type=seeds.ACRGradientMap, affinity=False),
    direction='give',
)
pipeline = [
    {
        start: dict(train, config=start),
        f'{start}_plain': dict(plain, model=start),
        f'{start}_plain_score': dict(score, seeds=f'{start}_plain'),
        f'{start}_refined': dict(acr, model=start),
        f'{start}_refined_score': dict(score, seeds=f'{start}_refined'),
        f'{start}_given': dict(acr, model=start, head=given),
        f'{start}_given_score': dict(score, seeds=f'{start}_given'),
    }
    for start in trainings
]
