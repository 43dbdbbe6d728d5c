"""Eleven seed heads on a CNN, a hybrid ViT and one with E-MHA, on real photos of animals.

    wsss matrix matrix/voc_animals --data-root VOC2012

The CNN is the stem of both: a frozen EfficientNet-lite0 with its ImageNet-1k weights. Maps
are made of the 437 training photos, given their tags, and scored on them. One AffinityNet,
which learns the confident labels of the CAM of the CNN, serves every row.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from ..voc_animals.pipeline import animals, crf, datasets, features
    from ..voc_animals.pipeline import maps as _maps
    from ..voc_animals.pipeline import pseudo_labels as _pseudo_labels
features.pop('type')
background = dict(type=refiners.ConstantBackground)
matrix = dict(
    title='Seed heads, encoders and refiners on the animals of Pascal VOC 2012',
    notes=(
        'Real photos; a frozen EfficientNet-lite0 with ImageNet-1k weights, alone and '
        'under transformers of four blocks. Thresholds of labels come from no mask.'
    ),
    classifiers=dict(
        cnn='../voc_animals/cam.py',
        hybrid='../voc_animals/hybrid.py',
        emha='../voc_animals/emha.py',
    ),
    heads=dict(
        cam=dict(type=seeds.CAM),
        grad_cam=dict(type=seeds.GradCAM),
        ts_cam=dict(type=seeds.TSCAM),
        acr=dict(type=seeds.ACRGradientMap, start_block=-2, affinity=False),
        acr_affinity=dict(type=seeds.ACRGradientMap, start_block=-2),
        generic=dict(type=seeds.GenericAttentionRelevance),
        attention_grad_cam=dict(type=seeds.AttentionGradCAM),
        legrad=dict(type=seeds.LeGrad),
        getam=dict(type=seeds.GETAM),
        rollout=dict(type=seeds.AttentionRollout),
        transformer_attribution=dict(type=seeds.TransformerAttribution),
        partial_lrp=dict(type=seeds.PartialLRP),
    ),
    refiners=dict(
        none=[background],
        crf=[background, crf],
        pamr=[background, dict(type=refiners.PAMR)],
        walk_crf=dict(refiners=_pseudo_labels.pseudo.refiners, threshold=None),
    ),
    stages=dict(
        confident=dict(_pseudo_labels.confident, seeds='cnn__cam'),
        affinity=dict(_pseudo_labels.affinity, config='../voc_animals/affinity.py'),
    ),
    faithfulness=dict(photos=50),
    images='images',
    masks='masks',
    maps=dict(max_side=_maps.max_side, half=True),
    refine=dict(threshold='foreground_share'),
    score=animals,
    features=features,
)
