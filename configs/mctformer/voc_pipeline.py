"""MCTformer on Pascal VOC 2012: the maps of V1, V2, + and of V2 with ACR (ACR, table 6).

Photos keep their size, rounded to whole patches, as in the released code, which cuts off
what is left instead. V1 and V2 see one scale and its mirror image, + three.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import EvaluateSeedStage, SeedStage, TrainStage

with read_base():
    from .._base_.mctformer_versions import maps, versions
    from .._base_.voc_data import data_root

seed = 0
train = dict(type=VOC12, data_root=data_root, split='train')
masks = dict(train, label_maps='SegmentationClass', test_mode=True)
models = dict(
    v1=('voc.py', versions.v1),
    v2=('voc.py', versions.v2),
    plus=('voc_plus.py', {}),
    v2_acr=('voc_acr.py', {}),
)
rows = {
    f'{name}_{word}': (name, dict(maps[name.removesuffix('_acr')], refine=refine))
    for name in models
    for word, refine in (('map', False), ('refined', True))
}

pipeline = [
    *(
        dict(type=TrainStage, name=name, config=config, options=options)
        for name, (config, options) in models.items()
    ),
    *(
        stage
        for name, (model, head) in rows.items()
        for stage in (
            dict(
                type=SeedStage,
                name=name,
                model=model,
                head=head,
                dataset=train,
                scales=(1.0, 0.75, 1.25) if model == 'plus' else (1.0,),
                batch_size=4,
            ),
            dict(
                type=EvaluateSeedStage, name=f'{name}_score', seeds=name, dataset=masks
            ),
        )
    ),
    dict(
        type=ReportStage,
        name='report',
        title='MCTformer on Pascal VOC 2012',
        dataset=masks,
        seeds=[f'{name}_score' for name in rows],
    ),
]
