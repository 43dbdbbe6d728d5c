"""Table 7 of ACR on the synthetic set: what makes the second view.

A resized view has other patches, so no row drops any (drop_patches).
"""

from mmengine.config import read_base

with read_base():
    from .synthetic_psa_pipeline import *
    from .._base_.acr_ablations import views
pipeline = [
    {
        name: dict(train, options={'model.drop_patches': 0.0, **options}),
        f'{name}_maps': dict(acr, model=name),
        f'{name}_score': dict(score, seeds=f'{name}_maps'),
    }
    for name, options in views.items()
]
