"""Insertion and deletion (Petsiuk et al., 2018) on the ImageNet validation images.

    wsss run lrp/insertion_deletion_imagenet --data-root FOLDER_OF_val

No table of the paper: a third test of the same methods, on the same classifiers.
"""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .perturbation_imagenet import datasets, tests
pipeline = {
    n: dict(t, type=stages.InsertionDeletionTestStage) for n, t in tests.items()
}
