"""Table 8 of ACR on the synthetic set: how the attention of two views is compared."""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import distances
    from .synthetic_pipeline import from_classifier, masks

seed = 0
pipeline = [
    stage
    for name, options in distances.items()
    for stage in (
        dict(type=TrainStage, name=name, config='synthetic.py', options=options),
        dict(
            from_classifier,
            name=f'{name}_maps',
            model=name,
            head=dict(type=ACRGradientMap),
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_score',
            seeds=f'{name}_maps',
            dataset=masks,
        ),
    )
]
