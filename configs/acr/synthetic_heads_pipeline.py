"""Table 5 of ACR on the synthetic set: ways to read maps out of one model."""

from mmengine.config import read_base

from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import heads
    from .synthetic_pipeline import from_classifier, masks

seed = 0
pipeline = (
    [dict(type=TrainStage, name='classifier', config='synthetic.py')]
    + [
        stage
        for name, head in heads.items()
        for stage in (
            dict(from_classifier, name=name, head=head),
            dict(
                type=EvaluateSeedStage, name=f'{name}_score', seeds=name, dataset=masks
            ),
        )
    ]
    + [
        dict(
            type=ReportStage,
            name='report',
            title='Maps of one ACR model',
            dataset=masks,
            seeds=[f'{name}_score' for name in heads],
        )
    ]
)
