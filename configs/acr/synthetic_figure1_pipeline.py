"""Figure 1 of ACR on the synthetic set: no consistency, that of SEAM, and ACR.

SEAM* compares class maps of two views and no attention. Maps are ACR's, without and with
affinity refinement; the report shows them side by side.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import trainings
    from .synthetic_pipeline import from_classifier, masks

seed = 0
pipeline = [
    stage
    for name, options in trainings.items()
    for stage in (
        dict(type=TrainStage, name=name, config='synthetic.py', options=options),
        dict(
            from_classifier,
            name=f'{name}_plain',
            model=name,
            head=dict(type=ACRGradientMap, affinity=False),
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_plain_score',
            seeds=f'{name}_plain',
            dataset=masks,
        ),
        dict(
            from_classifier,
            name=f'{name}_refined',
            model=name,
            head=dict(type=ACRGradientMap),
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_refined_score',
            seeds=f'{name}_refined',
            dataset=masks,
        ),
    )
] + [
    dict(
        type=ReportStage,
        name='report',
        title='No consistency, that of SEAM, and ACR',
        dataset=masks,
        seeds=[f'{name}_refined_score' for name in trainings],
    )
]
