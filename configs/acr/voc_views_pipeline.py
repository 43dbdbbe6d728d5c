"""Table 7 of ACR on Pascal VOC 2012: what makes the second view."""

from mmengine.config import read_base

with read_base():
    from .voc_pipeline import *
    from .._base_.acr_ablations import views
pipeline = [
    {
        name: dict(train, options=options),
        f'{name}_maps': dict(acr, model=name, dataset='train_images'),
        f'{name}_score': dict(score, seeds=f'{name}_maps'),
    }
    for name, options in views.items()
]
