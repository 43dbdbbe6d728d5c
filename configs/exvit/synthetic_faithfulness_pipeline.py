"""Are eX-ViT's own maps more faithful than post-hoc ones on the same model?

    tools/run_pipeline.py configs/exvit/synthetic_faithfulness_pipeline.py

The paper says so and does not measure it. Methods that show what the class token
gathers are left out: the logits come from the patch tokens, see docs/methods.md.
"""

from mmengine.config import read_base
from wsss_plugins.datasets import VOC12
from wsss_plugins import seeds, stages

with read_base():
    from .._base_.synthetic_data import data_root

images = dict(type=VOC12, data_root=data_root, split='val', test_mode=True, indices=200)
datasets = dict(images=images, masks=dict(images, label_maps='SegmentationClass'))
trainings = dict(classifier='synthetic.py')
methods = dict(
    ex_vit=dict(type=seeds.AttributeCAM),
    generic_relevance=dict(type=seeds.GenericAttentionRelevance),
    legrad=dict(type=seeds.LeGrad),
    input_x_gradient=dict(type=seeds.InputXGradient),
    integrated_gradients=dict(type=seeds.IntegratedGradients),
)
test = dict(model='classifier', methods=methods, input_size=(64, 64), batch_size=20)

pipeline = dict(
    classifier=dict(type=stages.TrainStage, config='classifier'),
    perturbation_test=dict(test, type=stages.PerturbationTestStage, dataset='images'),
    insertion_deletion_test=dict(
        test, type=stages.InsertionDeletionTestStage, dataset='images', steps=16
    ),
    segmentation_test=dict(
        test,
        type=stages.SegmentationTestStage,
        dataset='masks',
        explained='target',
        foreground='class',
    ),
)
