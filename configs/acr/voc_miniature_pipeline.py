"""The whole road on a tree of Pascal VOC 2012, with networks for images of 64 px.

From tools/prepare_data.py voc12 to the archive of the test server. It is what the tests
run on a generated devkit; give it your own with --data-root.
"""

from mmengine.config import read_base

from wsss_plugins.datasets import VOC12
from wsss_plugins.refiners import ConstantBackground, DenseCRF
from wsss_plugins.seeds import CAM
from wsss_plugins.stages import (
    EvaluateLabelStage,
    EvaluateSeedStage,
    PredictStage,
    RefineStage,
    SeedStage,
    SubmissionStage,
    TrainStage,
)

with read_base():
    from .._base_.voc_data import data_root

seed = 0
images = dict(type=VOC12, data_root=data_root, split='train_aug')
train_masks = dict(
    type=VOC12,
    data_root=data_root,
    split='train',
    label_maps='SegmentationClass',
    test_mode=True,
)
val_masks = dict(train_masks, split='val')
test_images = dict(
    type=VOC12, data_root=data_root, split='test', labels=None, test_mode=True
)

pipeline = [
    dict(
        type=TrainStage,
        name='classifier',
        config='synthetic.py',
        options={
            'model.head.num_classes': 20,
            'train_dataloader.dataset.split': 'train_aug',
        },
    ),
    dict(
        type=SeedStage,
        name='cam',
        model='classifier',
        head=dict(type=CAM),
        dataset=images,
        input_size=(64, 64),
    ),
    dict(type=EvaluateSeedStage, name='cam_score', seeds='cam', dataset=train_masks),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='cam',
        dataset=images,
        threshold='otsu',
        refiners=[
            dict(type=ConstantBackground),
            dict(type=DenseCRF, preset='psa', reference_size=500),
        ],
    ),
    dict(
        type=TrainStage,
        name='segmentor',
        config='../deeplabv2/synthetic.py',
        options={
            'model.decode_head.num_classes': 21,
            'model.decode_head.loss_decode.class_weight': [0.4] + [1.0] * 20,
            'train_dataloader.dataset.split': 'train_aug',
        },
        label_maps='pseudo',
    ),
    dict(
        type=PredictStage,
        name='val_prediction',
        model='segmentor',
        dataset=val_masks,
        scales=(0.75, 1.0, 1.25),
    ),
    dict(
        type=EvaluateLabelStage,
        name='val_score',
        labels='val_prediction',
        dataset=val_masks,
    ),
    dict(
        type=PredictStage,
        name='test_prediction',
        model='segmentor',
        dataset=test_images,
        scales=(0.75, 1.0, 1.25),
    ),
    dict(
        type=SubmissionStage,
        name='submission',
        labels='test_prediction',
        dataset=test_images,
        competition=5,  # no other data, no weights of ImageNet
    ),
]
