"""The synthetic data set of `tools/prepare_data.py synthetic`: classifier's view of it."""

from mmcv.transforms import RandomFlip
from mmengine.dataset import DefaultSampler

from wsss_plugins.datasets import VOC12, LoadImage, PackClassInputs, RandomCropPad
from wsss_plugins.metrics import MultiLabelAP

data_root = 'data/synthetic/VOC2012'
num_classes = 6

train_dataloader = dict(
    batch_size=32,
    num_workers=0,  # a 64 px image is decoded faster than it is sent between processes
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(
        type=VOC12,
        data_root=data_root,
        split='train',
        pipeline=[
            dict(type=LoadImage),
            dict(type=RandomFlip, prob=0.5),
            dict(type=RandomCropPad, size=64),
            dict(type=PackClassInputs),
        ],
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=VOC12,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=[dict(type=LoadImage), dict(type=PackClassInputs)],
    ),
)
val_evaluator = dict(type=MultiLabelAP)
