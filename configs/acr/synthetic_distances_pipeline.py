"""Table 8 of ACR on the synthetic set: how the attention of two views is compared."""

from mmengine.config import read_base

with read_base():
    from .synthetic_psa_pipeline import *
    from .._base_.acr_ablations import distances
pipeline = [
    {
        name: dict(train, options=options),
        f'{name}_maps': dict(acr, model=name),
        f'{name}_score': dict(score, seeds=f'{name}_maps'),
    }
    for name, options in distances.items()
]
