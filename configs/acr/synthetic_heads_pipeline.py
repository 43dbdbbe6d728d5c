"""Table 5 of ACR on the synthetic set: ways to read maps out of one model."""

from mmengine.config import read_base

with read_base():
    from .synthetic_psa_pipeline import *
    from .._base_.acr_ablations import heads

pipeline = [
    dict(classifier=train),
    *(
        {name: dict(acr, head=head), f'{name}_score': dict(score, seeds=name)}
        for name, head in heads.items()
    ),
    dict(
        maps_report,
        title='Maps of one ACR model',
        seeds=[f'{name}_score' for name in heads],
    ),
]
