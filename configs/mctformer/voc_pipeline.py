"""MCTformer on Pascal VOC 2012: the maps of V1, V2, + and of V2 with ACR (ACR, table 6).

Photos keep their size, rounded to whole patches, as in the released code, which cuts off
what is left instead. V1 and V2 see one scale and its mirror image, + three.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.mctformer_versions import maps, versions
    from .._base_.road.stages import look, maps_report, score, train
    from .._base_.road.voc import datasets
trainings = dict(
    v1=dict(config='voc.py', options=versions.v1),
    v2='voc.py',
    plus='voc_plus.py',
    v2_acr='voc_acr.py',
)
heads = {
    f'{name}_{word}': (name, dict(maps[name.removesuffix('_acr')], refine=refine))
    for name in trainings
    for word, refine in (('map', False), ('refined', True))
}
look.update(dataset='train_images', scales=(1.0,), batch_size=4)
scales = dict(plus=dict(scales=(1.0, 0.75, 1.25)))
rows = [
    {
        name: dict(look, model=model, head=head, **scales.get(model, {})),
        f'{name}_score': dict(score, seeds=name),
    }
    for name, (model, head) in heads.items()
]
trained = {name: dict(train, config=name) for name in trainings}
report = dict(maps_report, title='MCTformer on Pascal VOC 2012')
report.update(seeds=[f'{name}_score' for name in heads])
pipeline = [trained, *rows, report]
