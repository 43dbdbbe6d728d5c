"""Figure 8 of ACR on the synthetic set: from which block on gradients are averaged.

tools/run_pipeline.py configs/acr/synthetic_figure8_pipeline.py
"""

from mmengine.config import read_base

from wsss_plugins.seeds import ACRGradientMap
from wsss_plugins.stages import SeedSweepStage, TrainStage

with read_base():
    from .synthetic_pipeline import from_classifier, masks

seed = 0
pipeline = [
    dict(type=TrainStage, name='classifier', config='synthetic.py'),
    dict(
        from_classifier,
        type=SeedSweepStage,
        name='figure8',
        head=dict(type=ACRGradientMap),
        argument='start_block',
        values=[0, 1, 2, 3],
        dataset=masks,
        convention='acr',
    ),
]
