from mmengine.config import read_base
from wsss_plugins import seeds

with read_base():
    from .pipeline import *
train.config = 'hybrid'


def _h(head):
    return dict(maps, model='classifier', head=head)


hs = dict(
    cam=dict(type=seeds.CAM),
    grad=dict(type=seeds.ACRGradientMap, start_block=-2),
    grada=dict(type=seeds.ACRGradientMap, start_block=-2, affinity=True),
    ta=dict(type=seeds.TransformerAttribution),
    gen=dict(type=seeds.GenericAttention)
    if hasattr(seeds, 'GenericAttention')
    else dict(type=seeds.CAM),
    tscam=dict(type=seeds.TSCAM),
)
pipeline = dict(features=features, classifier=train)
for k, v in hs.items():
    pipeline[k] = _h(v)
    pipeline[k + '_score'] = dict(score, seeds=k)
