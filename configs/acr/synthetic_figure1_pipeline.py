"""Figure 1 of ACR on the synthetic set: no consistency, that of SEAM, and ACR."""

from mmengine.config import read_base

with read_base():
    from .synthetic_psa_pipeline import *
    from .voc_figure1_pipeline import report, rows
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
