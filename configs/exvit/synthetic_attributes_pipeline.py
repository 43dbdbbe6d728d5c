"""Table 7 of eX-ViT on the synthetic set: channels c and number S of the attributes.

c is a quarter of the paper's. Scored are the maps on train and val, not a segmentor.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.road.exvit import score, train
    from .synthetic_pipeline import datasets, maps, trainings
sizes = [(128, 8), (128, 16), (64, 4), (64, 8), (64, 16), (32, 4), (32, 8)]
rows = {
    f'c{c}_s{s}': {'model.head.channels': c, 'model.head.attributes': s}
    for c, s in sizes
}
pipeline = [
    {
        name: dict(train, options=options),
        f'{name}_maps': dict(maps, model=name),
        f'{name}_score': dict(score, seeds=f'{name}_maps'),
    }
    for name, options in rows.items()
]
