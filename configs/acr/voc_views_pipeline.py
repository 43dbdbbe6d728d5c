"""Table 7 of ACR on Pascal VOC 2012: what makes the second view."""

from mmengine.config import read_base

from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import views
    from .voc_pipeline import acr, masks, train

seed = 0
pipeline = [
    stage
    for name, options in views.items()
    for stage in (
        dict(type=TrainStage, name=name, config='voc.py', options=options),
        dict(acr, name=f'{name}_maps', model=name, dataset=train),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_score',
            seeds=f'{name}_maps',
            dataset=masks,
        ),
    )
]
