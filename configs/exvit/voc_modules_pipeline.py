"""Table 6 of eX-ViT on Pascal VOC 2012: what each loss adds to the maps of train and val."""

from mmengine.config import read_base

with read_base():
    from .._base_.exvit_ablations import modules
    from .._base_.road.exvit import maps, score, train
    from .voc_pipeline import datasets, trainings
datasets.update(
    train_images=dict(datasets.masks, label_maps=None),
    val_images=dict(datasets.val_masks, label_maps=None),
)
pipeline = [
    {
        name: dict(train, options=options),
        f'{name}_maps': dict(maps, model=name, dataset='train_images'),
        f'{name}_train': dict(score, seeds=f'{name}_maps'),
        f'{name}_val_maps': dict(maps, model=name, dataset='val_images'),
        f'{name}_val': dict(score, seeds=f'{name}_val_maps', dataset='val_masks'),
    }
    for name, options in modules.items()
]
