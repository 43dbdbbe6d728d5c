"""Table 6 of ACR on the synthetic set: one class token, and one per class, of equal size."""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .synthetic_psa_pipeline import *
trainings = dict(
    mctformer='../mctformer/synthetic.py',
    mctformer_acr='../mctformer/synthetic_acr.py',
    acr='synthetic.py',
)
mct = dict(type=seeds.MCTformerMap, fuse='product', layers=3)
mct_plain = dict(plain, head=dict(mct, refine=False))
mct_refined = dict(acr, head=dict(mct, refine=True))
maps = dict(
    mctformer=(mct_plain, mct_refined),
    mctformer_acr=(mct_plain, mct_refined),
    acr=(plain, dict(acr, head=dict(type=seeds.ACRGradientMap, affinity=True))),
)
rows = [
    {
        name: dict(train, config=name),
        f'{name}_plain': dict(unrefined, model=name),
        f'{name}_plain_score': dict(score, seeds=f'{name}_plain'),
        f'{name}_refined': dict(refined, model=name),
        f'{name}_refined_score': dict(score, seeds=f'{name}_refined'),
    }
    for name, (unrefined, refined) in maps.items()
]
report = dict(maps_report, title='MCTformer, MCTformer with ACR, and ACR')
report.update(seeds=[f'{name}_refined_score' for name in trainings])
pipeline = [*rows, report]
