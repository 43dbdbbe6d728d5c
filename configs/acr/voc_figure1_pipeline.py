"""Figure 1 of ACR on Pascal VOC 2012: no consistency, that of SEAM, and ACR.

SEAM* compares class maps of two views and no attention. Maps are ACR's, without and with
affinity refinement; the report shows them side by side.
"""

from mmengine.config import read_base

with read_base():
    from .voc_pipeline import *
    from .._base_.acr_ablations import trainings as rows
plain.dataset = acr.dataset = 'train_images'
report = dict(maps_report, title='No consistency, that of SEAM, and ACR')
report.update(seeds=[f'{name}_refined_score' for name in rows])
measured = [
    {
        name: dict(train, options=options),
        f'{name}_plain': dict(plain, model=name),
        f'{name}_plain_score': dict(score, seeds=f'{name}_plain'),
        f'{name}_refined': dict(acr, model=name),
        f'{name}_refined_score': dict(score, seeds=f'{name}_refined'),
    }
    for name, options in rows.items()
]
pipeline = [*measured, report]
