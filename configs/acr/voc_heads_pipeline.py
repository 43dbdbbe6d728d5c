"""Table 5 of ACR on Pascal VOC 2012: ways to read maps out of one model.

The report shows the maps side by side, as figures 5 and 10 do.
"""

from mmengine.config import read_base

from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import heads
    from .voc_pipeline import acr, masks, train

seed = 0
pipeline = (
    [dict(type=TrainStage, name='classifier', config='voc.py')]
    + [
        stage
        for name, head in heads.items()
        for stage in (
            dict(acr, name=name, head=head, dataset=train),
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
