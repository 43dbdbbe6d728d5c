"""Table 4 of ACR on Pascal VOC 2012: what each consistency adds to the maps of train.

Every row is measured without and with affinity refinement, and so is whom its patches
attend to. The report shows the maps of figures 4 and 12 side by side.
"""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .voc_pipeline import *
    from .._base_.acr_ablations import regularisations
plain.dataset = acr.dataset = 'train_images'
affinity = dict(type=stages.EvaluateAffinityStage, dataset='masks')
rows = [
    {
        name: dict(train, options=options),
        f'{name}_affinity': dict(affinity, model=name),
        f'{name}_plain': dict(plain, model=name),
        f'{name}_plain_score': dict(score, seeds=f'{name}_plain'),
        f'{name}_refined': dict(acr, model=name),
        f'{name}_refined_score': dict(score, seeds=f'{name}_refined'),
    }
    for name, options in regularisations.items()
]
report = dict(maps_report, title='ACR: what each consistency adds')
report.update(seeds=[f'{name}_refined_score' for name in regularisations])
pipeline = [*rows, report]
