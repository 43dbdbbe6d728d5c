"""Table 6 of eX-ViT on Pascal VOC 2012: what each loss adds to the maps of train and val."""

from mmengine.config import read_base

from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.exvit_ablations import modules
    from .voc_pipeline import maps, masks, val_masks

seed = 0
train_images = dict(masks, label_maps=None)
val_images = dict(val_masks, label_maps=None)

pipeline = [
    stage
    for name, options in modules.items()
    for stage in (
        dict(type=TrainStage, name=name, config='voc.py', options=options),
        dict(maps, name=f'{name}_maps', model=name, dataset=train_images),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_train',
            seeds=f'{name}_maps',
            dataset=masks,
        ),
        dict(maps, name=f'{name}_val_maps', model=name, dataset=val_images),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_val',
            seeds=f'{name}_val_maps',
            dataset=val_masks,
        ),
    )
]
