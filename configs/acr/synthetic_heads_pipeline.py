"""Table 5 of ACR on the synthetic set: ways to read maps out of one model."""

from mmengine.config import read_base

with read_base():
    from .synthetic_psa_pipeline import *
    from .voc_heads_pipeline import heads, report
rows = [
    {name: dict(acr, head=head), f'{name}_score': dict(score, seeds=name)}
    for name, head in heads.items()
]
pipeline = [dict(classifier=train), *rows, report]
