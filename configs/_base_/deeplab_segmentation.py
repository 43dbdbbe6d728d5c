"""What the DeepLab networks share: preprocessing, learning rates, schedule.

A config adds `backbone`, `decode_head` and `max_epochs`.
"""

from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.segmentors import EncoderDecoder
from torch.optim import SGD

from wsss_plugins.segmentors import DeepLabRates

model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=False,  # LoadImage gives RGB
        size=(321, 321),
        pad_val=0,
        seg_pad_val=255,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

max_epochs = 19  # 20,000 steps of 10 images over 10,582
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    constructor=DeepLabRates,
    optimizer=dict(type=SGD, lr=2.5e-4, momentum=0.9, weight_decay=5e-4),
    # The head ten times as fast, biases twice as fast again and without decay.
    paramwise_cfg=dict(head=10.0, bias=2.0, bias_decay=0.0),
)
param_scheduler = [
    dict(
        type=PolyLR,
        power=0.9,
        eta_min=0.0,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    )
]
