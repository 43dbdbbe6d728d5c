"""Table 7 of eX-ViT on Pascal VOC 2012: channels c and number S of the attributes.

Every row is the whole road to a segmentor, as its numbers are mIoU on val; the refinement
between maps and segmentor is a dense CRF alone.
"""

from mmengine.config import read_base

from wsss_plugins.refiners import PowerBackground
from wsss_plugins.stages import (
    EvaluateLabelStage,
    PredictStage,
    RefineStage,
    TrainStage,
)

with read_base():
    from .._base_.exvit_ablations import attributes
    from .voc_pipeline import crf, images, maps, resnet38_protocol, val_masks

seed = 0
pipeline = [
    stage
    for name, options in attributes.items()
    for stage in (
        dict(type=TrainStage, name=name, config='voc.py', options=options),
        dict(maps, name=f'{name}_maps', model=name),
        dict(
            type=RefineStage,
            name=f'{name}_pseudo',
            seeds=f'{name}_maps',
            dataset=images,
            refiners=[dict(type=PowerBackground), crf],
        ),
        dict(
            type=TrainStage,
            name=f'{name}_segmentor',
            config='../deeplabv2/voc_resnet38.py',
            label_maps=f'{name}_pseudo',
        ),
        dict(
            resnet38_protocol,
            type=PredictStage,
            name=f'{name}_val',
            model=f'{name}_segmentor',
            dataset=val_masks,
        ),
        dict(
            type=EvaluateLabelStage,
            name=f'{name}_score',
            labels=f'{name}_val',
            dataset=val_masks,
        ),
    )
]
