"""Table 6 of ACR on the synthetic set: one class token, and one per class, of equal size.

Each measured without and with affinity refinement.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap, MCTformerMap
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .synthetic_pipeline import from_classifier, masks

seed = 0
mct = dict(
    plain=dict(type=MCTformerMap, fuse='product', layers=3, refine=False),
    refined=dict(type=MCTformerMap, fuse='product', layers=3, refine=True),
)
own = dict(
    plain=dict(type=ACRGradientMap, affinity=False),
    refined=dict(type=ACRGradientMap, affinity=True),
)
rows = dict(
    mctformer=('../mctformer/synthetic.py', mct),
    mctformer_acr=('../mctformer/synthetic_acr.py', mct),
    acr=('synthetic.py', own),
)

pipeline = [
    stage
    for name, (config, heads) in rows.items()
    for stage in (
        dict(type=TrainStage, name=name, config=config),
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
] + [
    dict(
        type=ReportStage,
        name='report',
        title='MCTformer, MCTformer with ACR, and ACR',
        dataset=masks,
        seeds=[f'{name}_refined_score' for name in rows],
    )
]
