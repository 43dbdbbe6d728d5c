"""Both tests of explanations on the synthetic data set, with a classifier from scratch.

Its images show several classes: what is explained is the label that the classifier is
surest of, and the foreground is what shows that class.
"""

from mmengine.config import read_base
from wsss_plugins import stages
from wsss_plugins.datasets import VOC12

with read_base():
    from .._base_.attribution_methods import methods
    from .._base_.synthetic_data import data_root
images = dict(type=VOC12, data_root=data_root, split='val', test_mode=True, indices=100)
datasets = dict(images=images, masks=dict(images, label_maps='SegmentationClass'))
trainings = dict(classifier='../acr/synthetic.py')
test = dict(model='classifier', methods=methods, input_size=(64, 64), batch_size=20)
pipeline = dict(
    classifier=dict(type=stages.TrainStage, config='classifier'),
    segmentation_test=dict(
        test,
        type=stages.SegmentationTestStage,
        dataset='masks',
        explained='target',
        foreground='class',
    ),
    perturbation_test=dict(test, type=stages.PerturbationTestStage, dataset='images'),
)
