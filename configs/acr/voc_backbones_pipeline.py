"""Table 6 of ACR on Pascal VOC 2012: DeiT-S, with one class token and with one per class.

Each measured without and with affinity refinement. MCTformer's photos keep their size, as
in its released code; ACR's become squares of 224 px. The report shows the maps of figure 5.
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap, MCTformerMap
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .voc_pipeline import acr, masks, train

seed = 0
square = dict(acr, dataset=train, input_size=(224, 224))
whole = dict(acr, dataset=train, input_size=None, align_corners=False)
mct = dict(
    plain=dict(type=MCTformerMap, fuse='product', layers=3, refine=False),
    refined=dict(type=MCTformerMap, fuse='product', layers=3, refine=True),
)
own = dict(
    plain=dict(type=ACRGradientMap, start_block=-2, affinity=False),
    refined=dict(type=ACRGradientMap, start_block=-2, affinity=True),
)
rows = dict(
    mctformer=('../mctformer/voc.py', whole, mct),
    mctformer_acr=('../mctformer/voc_acr.py', whole, mct),
    acr=('voc_deit.py', square, own),
)

pipeline = [
    stage
    for name, (config, maps, heads) in rows.items()
    for stage in (
        dict(type=TrainStage, name=name, config=config),
        *(
            part
            for kind, head in heads.items()
            for part in (
                dict(maps, name=f'{name}_{kind}', model=name, head=head),
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
        title='DeiT-S: MCTformer, MCTformer with ACR, and ACR',
        dataset=masks,
        seeds=[f'{name}_refined_score' for name in rows],
    )
]
