"""The stages of eX-ViT's pipeline, from image-level labels to a segmentor.

Maps, PSA's AffinityNet and random walk, dense CRF, DeepLab-LargeFOV with ResNet38 (the
paper says DeepLabV2 and ResNet38) and, not in the paper, DeepLabV2 with ResNet-101.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from ...deeplabv2.voc_r101 import prediction as r101_protocol
    from ...deeplabv2.voc_resnet38 import prediction as resnet38_protocol
    from .affinity import crf, pseudo_labels
    from .stages import look, refine, report, score, score_labels
    from .stages import segmentation, train
maps = dict(
    look, head=dict(type=seeds.AttributeCAM), scales=(0.5, 1.0, 1.5, 2.0), batch_size=4
)
seeding = dict(classifier=train, maps=maps, maps_score=dict(score, seeds='maps'))
# Table 1, '+ denseCRF': the maps with a dense CRF, without affinities.
label_crf = dict(
    crf=dict(
        refine,
        seeds='maps',
        threshold='maps_score',
        refiners=[dict(type=refiners.ConstantBackground), crf],
    ),
    crf_score=dict(score_labels, labels='crf'),
)
# Both are predicted as wsss test --multi-scale does it, on VOC and on COCO alike.
resnet38 = dict(
    resnet38=dict(segmentation.segmentor, config='resnet38'),
    resnet38_val=dict(segmentation.prediction, model='resnet38', **resnet38_protocol),
    resnet38_score=dict(segmentation.prediction_score, labels='resnet38_val'),
)
r101 = dict(
    r101=dict(segmentation.segmentor, config='r101'),
    r101_val=dict(segmentation.prediction, model='r101', **r101_protocol),
    r101_score=dict(segmentation.prediction_score, labels='r101_val'),
)
report.update(seeds=['maps_score'], predictions='resnet38_score')
