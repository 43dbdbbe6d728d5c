"""Table 4 of ACR on the synthetic set, from scratch: what each consistency adds.

Every row is measured without and with affinity refinement, on train. The weights of the
two losses are those of synthetic.py.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import regularisations
    from .synthetic_pipeline import from_classifier, masks

seed = 0
refinements = dict(plain=False, refined=True)

pipeline = [
    stage
    for name, options in regularisations.items()
    for stage in (
        dict(type=TrainStage, name=name, config='synthetic.py', options=options),
        *(
            part
            for kind, affinity in refinements.items()
            for part in (
                dict(
                    from_classifier,
                    name=f'{name}_{kind}',
                    model=name,
                    head=dict(type=ACRGradientMap, affinity=affinity),
                ),
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
