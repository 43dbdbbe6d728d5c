"""Insertion and deletion (Petsiuk et al., 2018) on the ImageNet validation images.

    tools/run_pipeline.py configs/lrp/insertion_deletion_imagenet.py --data-root FOLDER_OF_val

No table of the paper: a third test of the same methods, on the same classifiers.
"""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .._base_.attribution_methods import methods
    from .._base_.imagenet_classifiers import deit_base, vit_base
    from .perturbation_imagenet import datasets

test = dict(
    type=stages.InsertionDeletionTestStage,
    methods=methods,
    dataset='images',
    batch_size=8,
)

pipeline = dict(
    vit_base=dict(test, model=vit_base), deit_base=dict(test, model=deit_base)
)
