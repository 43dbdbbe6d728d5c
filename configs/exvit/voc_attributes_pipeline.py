"""Table 7 of eX-ViT on Pascal VOC 2012: channels c and number S of the attributes.

Every row is the whole road to a segmentor, as its numbers are mIoU on val; the refinement
between maps and segmentor is a dense CRF alone.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, stages

with read_base():
    from .._base_.exvit_ablations import attributes
    from .._base_.road.exvit import crf, maps, resnet38, train
    from .voc_pipeline import datasets, trainings
pseudo = dict(
    type=stages.RefineStage,
    dataset='images',
    refiners=[dict(type=refiners.PowerBackground), crf],
)
pipeline = [
    {
        name: dict(train, options=options),
        f'{name}_maps': dict(maps, model=name),
        f'{name}_pseudo': dict(pseudo, seeds=f'{name}_maps'),
        f'{name}_segmentor': dict(resnet38.resnet38, label_maps=f'{name}_pseudo'),
        f'{name}_val': dict(resnet38.resnet38_val, model=f'{name}_segmentor'),
        f'{name}_score': dict(resnet38.resnet38_score, labels=f'{name}_val'),
    }
    for name, options in attributes.items()
]
