"""Table 2 of the ReScience paper: perturbation tests on the ImageNet validation images.

    wsss run lrp/perturbation_imagenet --data-root FOLDER_OF_val

Published for ViT-B/16, areas in percent, by the map of the predicted class (negative,
positive): rollout 53.10, 20.05; raw attention 45.55, 23.99; GradCAM 41.52, 34.06; LRP
43.49, 41.94; partial LRP 50.49, 19.64; transformer attribution 54.16, 17.03.
"""

from mmengine.config import read_base
from wsss_plugins import stages
from wsss_plugins.datasets import ImageNet

with read_base():
    from .._base_.imagenet_classifiers import tests
data_root = 'data/imagenet'
images = dict(type=ImageNet, data_root=data_root, split='val', verify_count=True)
datasets = dict(images=images)
pipeline = {n: dict(t, type=stages.PerturbationTestStage) for n, t in tests.items()}
