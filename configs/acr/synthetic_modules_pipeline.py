"""Table 4 of ACR on the synthetic set, from scratch: what each consistency adds.

Every row is measured on train without affinity refinement and with it, and so is whom its
patches attend to. The weights of the two losses are those of synthetic.py.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.stages import EvaluateAffinityStage, EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import regularisations
    from .synthetic_pipeline import from_classifier, masks

seed = 0
heads = dict(
    plain=dict(type=ACRGradientMap, affinity=False),
    refined=dict(type=ACRGradientMap),
)

pipeline = [
    stage
    for name, options in regularisations.items()
    for stage in (
        dict(type=TrainStage, name=name, config='synthetic.py', options=options),
        dict(
            type=EvaluateAffinityStage,
            name=f'{name}_affinity',
            model=name,
            dataset=masks,
        ),
        *(
            part
            for kind, head in heads.items()
            for part in (
                dict(from_classifier, name=f'{name}_{kind}', model=name, head=head),
                dict(
                    type=EvaluateSeedStage,
                    name=f'{name}_{kind}_score',
                    seeds=f'{name}_{kind}',
                    dataset=masks,
                ),
            )
        ),
    )
]
