"""Are eX-ViT's own maps more faithful than post-hoc ones on the same model?

The paper says so and does not measure it. Methods that show what the class token
gathers are left out: the logits come from the patch tokens, see docs/methods.md.
"""

from mmengine.config import read_base
from wsss_plugins import seeds, stages

with read_base():
    from ..lrp.synthetic_pipeline import datasets, pipeline as _tests
datasets.images.indices = datasets.masks.indices = 200
trainings = dict(classifier='synthetic.py')
methods = dict(
    ex_vit=dict(type=seeds.AttributeCAM),
    generic_relevance=dict(type=seeds.GenericAttentionRelevance),
    legrad=dict(type=seeds.LeGrad),
    input_x_gradient=dict(type=seeds.InputXGradient),
    integrated_gradients=dict(type=seeds.IntegratedGradients),
)
perturbation = dict(_tests.perturbation_test, methods=methods)
pipeline = dict(
    classifier=_tests.classifier,
    perturbation_test=perturbation,
    insertion_deletion_test=dict(
        perturbation, type=stages.InsertionDeletionTestStage, steps=16
    ),
    segmentation_test=dict(_tests.segmentation_test, methods=methods),
)
