"""Tables 2 to 4 of ReScience on the animals of Pascal VOC: the claims of its methods.

    wsss run voc_animals/claims_rescience --data-root VOC2012

One hybrid transformer is explained by every method of the paper in its order, without LRP,
whose relevance does not pass a CNN, and by generic relevance. Maps are cut at every
threshold on train; table 3 cuts them at their mean, on 150 photos of it. Table 2 is measured
on 50 photos of val, table 4 on train, given the tags. The photos are drawn at random once.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, stages

with read_base():
    from .._base_.attribution_methods import methods as _all
    from .pipeline import *
_chosen = ('rollout', 'raw_attention', 'grad_cam', 'partial_lrp')
_chosen = (*_chosen, 'transformer_attribution', 'generic_relevance')
methods = {name: _all[name] for name in _chosen}
hybrid = dict(train, config='hybrid')
rows = [
    {
        name: dict(maps, model='hybrid', head=head, flip=False),
        f'{name}_score': dict(score, seeds=name),
    }
    for name, head in methods.items()
]
test = dict(model='hybrid', methods=methods, input_size=(352, 352), batch_size=10)
tests = dict(
    # Table 3.
    segmentation_test=dict(
        test,
        type=stages.SegmentationTestStage,
        dataset=dict(datasets.masks, sample=150),
        explained='target',
        foreground='class',
    ),
    # Table 2.
    perturbation_test=dict(
        test,
        type=stages.PerturbationTestStage,
        dataset=dict(datasets.val_images, sample=50),
    ),
)
# Table 4 as ../psa/voc_pipeline.py: the cube root, and background below 0.2.
_power, _walk = walk
table4 = dict(
    hybrid_seeds=dict(
        refine,
        seeds='transformer_attribution',
        refiners=[
            dict(type=refiners.PowerScores, power=1 / 3),
            dict(type=refiners.ConstantBackground, threshold=0.2),
        ],
        soft=True,
    ),
    hybrid_seeds_score=dict(score_labels, labels='hybrid_seeds'),
    hybrid_confident=dict(
        pseudo_labels.confident,
        seeds='hybrid_seeds',
        refiners=[dict(type=refiners.PowerBackground), crf],
    ),
    hybrid_affinity=dict(pseudo_labels.affinity, label_maps='hybrid_confident'),
    hybrid_walked=dict(
        pseudo_labels.pseudo,
        seeds='hybrid_seeds',
        refiners=[
            dict(_power, alpha=4),
            dict(_walk, affinity='hybrid_affinity', beta=16),
        ],
    ),
    hybrid_walked_score=dict(score_labels, labels='hybrid_walked'),
)
pipeline = [dict(features=features, hybrid=hybrid), *rows, tests, table4]
