"""Table 4 of ACR on the synthetic set, from scratch: what each consistency adds.

Every row is measured on train without affinity refinement and with it, and so is whom its
patches attend to. The weights of the two losses are those of synthetic.py.
"""

from mmengine.config import read_base
from wsss_plugins import stages

with read_base():
    from .synthetic_psa_pipeline import *
    from .._base_.acr_ablations import regularisations
affinity = dict(type=stages.EvaluateAffinityStage, dataset='masks')
pipeline = [
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
