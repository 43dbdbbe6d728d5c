"""Table 4 of ACR on Pascal VOC 2012: what each consistency adds to the maps of train.

Every row is measured without and with affinity refinement, and so is whom its patches
attend to. The report shows the maps of figures 4 and 12 side by side.
"""

from mmengine.config import read_base

from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateAffinityStage, EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import regularisations
    from .voc_pipeline import acr, masks, plain, train

seed = 0
pipeline = [
    stage
    for name, options in regularisations.items()
    for stage in (
        dict(type=TrainStage, name=name, config='voc.py', options=options),
        dict(
            type=EvaluateAffinityStage,
            name=f'{name}_affinity',
            model=name,
            dataset=masks,
        ),
        dict(plain, name=f'{name}_plain', model=name, dataset=train),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_plain_score',
            seeds=f'{name}_plain',
            dataset=masks,
        ),
        dict(acr, name=f'{name}_refined', model=name, dataset=train),
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
        title='ACR: what each consistency adds',
        dataset=masks,
        seeds=[f'{name}_refined_score' for name in regularisations],
    )
]
