"""Table 7 of ACR on the synthetic set: what makes the second view.

A resized view has other patches, so no row drops any (drop_patches).
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.stages import EvaluateSeedStage, TrainStage

with read_base():
    from .._base_.acr_ablations import views
    from .synthetic_pipeline import from_classifier, masks

seed = 0
pipeline = [
    stage
    for name, options in views.items()
    for stage in (
        dict(
            type=TrainStage,
            name=name,
            config='synthetic.py',
            options={'model.drop_patches': 0.0, **options},
        ),
        dict(
            from_classifier,
            name=f'{name}_maps',
            model=name,
            head=dict(type=ACRGradientMap),
        ),
        dict(
            type=EvaluateSeedStage,
            name=f'{name}_score',
            seeds=f'{name}_maps',
            dataset=masks,
        ),
    )
]
