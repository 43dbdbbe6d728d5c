"""Stochastic gradient descent with a polynomially falling rate: ACR's 15 epochs of VOC."""

from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from torch.optim import SGD

max_epochs = 15
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=max_epochs, val_interval=1000)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(
    type=OptimWrapper,
    # The paper of ACR does not say which momentum.
    optimizer=dict(type=SGD, lr=0.01, momentum=0.9, weight_decay=5e-4),
)
_rate = dict(type=PolyLR, power=0.9, eta_min=0.0, begin=0, end=1.0)  # the whole of it
param_scheduler = [dict(_rate, convert_to_iter_based=True)]
