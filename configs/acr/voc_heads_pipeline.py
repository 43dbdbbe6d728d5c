"""Table 5 of ACR on Pascal VOC 2012: ways to read maps out of one model.

The report shows the maps side by side, as figures 5 and 10 do.
"""

from mmengine.config import read_base

with read_base():
    from .voc_pipeline import *
    from .._base_.acr_ablations import heads
acr.update(dataset='train_images')
report = dict(maps_report, title='Maps of one ACR model')
report.update(seeds=[f'{name}_score' for name in heads])
rows = [
    {name: dict(acr, head=head), f'{name}_score': dict(score, seeds=name)}
    for name, head in heads.items()
]
pipeline = [dict(classifier=train), *rows, report]
