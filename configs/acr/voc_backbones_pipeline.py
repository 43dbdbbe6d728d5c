"""Table 6 of ACR on Pascal VOC 2012: DeiT-S, with one class token and with one per class.

Each measured without and with affinity refinement. MCTformer's photos keep their size, as
in its released code; ACR's become squares of 224 px. The report: figures 5 and 10.
"""

from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .voc_pipeline import *
trainings = dict(
    mctformer='../mctformer/voc.py',
    mctformer_acr='../mctformer/voc_acr.py',
    acr='voc_deit.py',
)
mct = dict(type=seeds.MCTformerMap, fuse='product', layers=3)
whole = dict(dataset='train_images', input_size=None, align_corners=False)
square = dict(dataset='train_images', input_size=(224, 224))
plain.update(square)
acr.update(square)
mct_plain = dict(plain, **whole, head=dict(mct, refine=False))
mct_refined = dict(acr, **whole, head=dict(mct, refine=True))
maps = dict(
    mctformer=(mct_plain, mct_refined),
    mctformer_acr=(mct_plain, mct_refined),
    acr=(plain, acr),
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
report = dict(maps_report, title='DeiT-S: MCTformer, MCTformer with ACR, and ACR')
report.update(seeds=[f'{name}_refined_score' for name in trainings])
pipeline = [*rows, report]
