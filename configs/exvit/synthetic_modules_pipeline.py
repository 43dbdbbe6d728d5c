"""Table 6 of eX-ViT on the synthetic set: what each loss adds to the maps.

Where L_global is off, the class maps are the plain CAM of the encoder; see
docs/methods.md. L_div weighs 0.1 as in synthetic.py; the last row has the paper's 1.
"""

from mmengine.config import read_base

with read_base():
    from .._base_.exvit_ablations import modules
    from .._base_.road.exvit import score, train
    from .synthetic_pipeline import datasets, maps, trainings
rows = {**modules, 'all_paper': {'model.attribute_loss.diversity': 1.0}}
pipeline = [
    {
        name: dict(train, options=options),
        f'{name}_maps': dict(maps, model=name),
        f'{name}_train': dict(score, seeds=f'{name}_maps'),
        f'{name}_val_maps': dict(maps, model=name, dataset='val_images'),
        f'{name}_val': dict(score, seeds=f'{name}_val_maps', dataset='val_masks'),
    }
    for name, options in rows.items()
]
