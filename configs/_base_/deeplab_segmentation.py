"""What the DeepLab networks share: preprocessing, learning rates, schedule.

A config adds the `backbone`, the type and sizes of the `decode_head`, and its epochs.
"""

from mmengine.config import read_base
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from wsss_plugins import segmentors

with read_base():
    from .normalisation import imagenet as _imagenet
    from .sgd_poly import *
_loss = dict(type=CrossEntropyLoss, avg_non_ignore=True)
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor,
        **_imagenet,
        bgr_to_rgb=False,  # LoadImage gives RGB
        size=(321, 321),
        pad_val=0,
        seg_pad_val=255,
    ),
    decode_head=dict(loss_decode=_loss),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

# 20,000 steps of 10 images over 10,582
max_epochs = train_cfg.max_epochs = 19
optim_wrapper.optimizer.lr = 2.5e-4
optim_wrapper.update(
    constructor=segmentors.DeepLabRates,
    # The head ten times as fast, biases twice as fast again and without decay.
    paramwise_cfg=dict(head=10.0, bias=2.0, bias_decay=0.0),
)
