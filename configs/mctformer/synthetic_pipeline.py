"""MCTformer V1, V2, + and V2 with ACR on the synthetic data set: maps of each.

The last rows put V2's unrefined maps through the refiner PatchAffinity, which any seed
head's maps may pass, for comparison with the head's own refinement.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from .._base_.mctformer_versions import maps, versions
    from .._base_.road.stages import *
    from .._base_.road.synthetic import datasets
trainings = {
    **{n: dict(config='synthetic.py', options=o) for n, o in versions.items()},
    'v2_acr': 'synthetic_acr.py',
}
# Four blocks here: V1 and V2 read the last three, + all.
maps.plus.layers = 4
heads = {
    f'{name}_{word}': (name, dict(maps[name.removesuffix('_acr')], refine=refine))
    for name in trainings
    for word, refine in (('map', False), ('refined', True))
}
heads['v2_attention'] = ('v2', dict(type=seeds.MCTformerMap, fuse='mct'))
heads['v2_cam'] = ('v2', dict(type=seeds.CAM))
look.update(batch_size=50)
measured = [
    {name: dict(look, model=model, head=head), f'{name}_score': dict(score, seeds=name)}
    for name, (model, head) in heads.items()
]
pipeline = [
    {name: dict(train, config=name) for name in trainings},
    *measured,
    dict(
        v2_walked=dict(
            refine,
            seeds='v2_map',
            threshold='v2_refined_score',
            refiners=[
                dict(type=refiners.PatchAffinity, model='v2', normalise=True),
                dict(type=refiners.ConstantBackground),
            ],
        ),
        v2_walked_score=dict(score_labels, labels='v2_walked'),
        report=dict(
            maps_report,
            title='Maps of MCTformer',
            seeds=[f'{name}_score' for name in heads],
            labels='v2_walked_score',
        ),
    ),
]
