"""Are eX-ViT's own maps more faithful than post-hoc ones on the same model?

    tools/run_pipeline.py configs/exvit/synthetic_faithfulness_pipeline.py

The paper says so and does not measure it. Methods that show what the class token
gathers are left out: the logits come from the patch tokens, see docs/methods.md.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.seeds import (
    AttributeCAM,
    GenericAttentionRelevance,
    InputXGradient,
    IntegratedGradients,
    LeGrad,
)
from wsss_plugins.stages import (
    InsertionDeletionTestStage,
    PerturbationTestStage,
    SegmentationTestStage,
    TrainStage,
)

with read_base():
    from .._base_.synthetic_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='val', test_mode=True, indices=200)
methods = dict(
    ex_vit=dict(type=AttributeCAM),
    generic_relevance=dict(type=GenericAttentionRelevance),
    legrad=dict(type=LeGrad),
    input_x_gradient=dict(type=InputXGradient),
    integrated_gradients=dict(type=IntegratedGradients),
)
test = dict(model='classifier', methods=methods, input_size=(64, 64), batch_size=20)

pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(test, type=PerturbationTestStage, name='perturbation_test', dataset=images),
    dict(
        test,
        type=InsertionDeletionTestStage,
        name='insertion_deletion_test',
        dataset=images,
        steps=16,
    ),
    dict(
        test,
        type=SegmentationTestStage,
        name='segmentation_test',
        dataset=dict(images, label_maps='SegmentationClass'),
        explained='target',
        foreground='class',
    ),
]
