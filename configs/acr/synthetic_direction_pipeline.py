"""Which way attention spreads maps better on the synthetic set, from both starts.

Refined by ACR, a patch takes from those that it attends to; given, it gives to them.
Both classifiers see two views and learn without consistency.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap, AffinityRefined
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import regularisations
    from .synthetic_pipeline import from_classifier, masks

seed = 0
starts = dict(scratch='synthetic.py', pretrained='synthetic_pretrained.py')
plain = dict(type=ACRGradientMap, affinity=False)
heads = dict(
    plain=plain,
    refined=dict(type=ACRGradientMap),
    given=dict(type=AffinityRefined, head=plain, direction='give'),
)

pipeline = [
    stage
    for start, config in starts.items()
    for stage in (
        dict(
            type=TrainStage,
            name=start,
            config=config,
            options=regularisations['baseline'],
        ),
        *(
            part
            for kind, head in heads.items()
            for part in (
                dict(from_classifier, name=f'{start}_{kind}', model=start, head=head),
                dict(
                    type=EvaluateSeedStage,
                    name=f'{start}_{kind}_score',
                    seeds=f'{start}_{kind}',
                    dataset=masks,
                ),
            )
        ),
    )
]
