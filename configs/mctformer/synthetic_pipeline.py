"""MCTformer V1, V2, + and V2 with ACR on the synthetic data set: maps of each.

The last rows put V2's unrefined maps through the refiner PatchAffinity, which any seed
head's maps may pass, for comparison with the head's own refinement.
"""

from mmengine.config import read_base

from wsss_plugins.refiners import ConstantBackground, PatchAffinity
from wsss_plugins.seeds import CAM, MCTformerMap
from wsss_plugins.report import ReportStage
from wsss_plugins.stages import (
    EvaluateLabelStage,
    EvaluateSeedStage,
    RefineStage,
    SeedStage,
    TrainStage,
)

with read_base():
    from .._base_.mctformer_versions import maps, versions
    from ..acr.synthetic_pipeline import images, masks

seed = 0
# Four blocks here: V1 and V2 read the last three, + all.
maps.plus.layers = 4
models = {name: ('synthetic.py', options) for name, options in versions.items()}
models['v2_acr'] = ('synthetic_acr.py', {})
heads = {
    f'{name}_{word}': (name, dict(maps[name.removesuffix('_acr')], refine=refine))
    for name in models
    for word, refine in (('map', False), ('refined', True))
}
heads['v2_attention'] = ('v2', dict(type=MCTformerMap, fuse='mct'))
heads['v2_cam'] = ('v2', dict(type=CAM))

pipeline = [
    *(
        dict(type=TrainStage, name=name, config=config, options=options)
        for name, (config, options) in models.items()
    ),
    *(
        stage
        for name, (model, head) in heads.items()
        for stage in (
            dict(
                type=SeedStage,
                name=name,
                model=model,
                head=head,
                dataset=images,
                batch_size=50,
            ),
            dict(
                type=EvaluateSeedStage, name=f'{name}_score', seeds=name, dataset=masks
            ),
        )
    ),
    dict(
        type=RefineStage,
        name='v2_walked',
        seeds='v2_map',
        dataset=images,
        threshold='v2_refined_score',
        refiners=[
            dict(type=PatchAffinity, model='v2', normalise=True),
            dict(type=ConstantBackground),
        ],
    ),
    dict(
        type=EvaluateLabelStage,
        name='v2_walked_score',
        labels='v2_walked',
        dataset=masks,
    ),
    dict(
        type=ReportStage,
        name='report',
        title='Maps of MCTformer',
        dataset=masks,
        seeds=[f'{name}_score' for name in heads],
        labels='v2_walked_score',
    ),
]
