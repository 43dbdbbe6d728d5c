"""From image-level labels to mIoU on the synthetic data set: `make demo`.

Six seed heads read one ACR classifier. The pseudo labels are made of the plain CAM: from
scratch on 2,000 images it measures best, see docs/results.md.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds

with read_base():
    from .._base_.road.stages import *
    from .._base_.road.synthetic import datasets
trainings = dict(classifier='synthetic.py', segmentor='../deeplabv2/synthetic.py')
heads = dict(
    cam=dict(type=seeds.CAM),
    acr=dict(type=seeds.ACRGradientMap, affinity=False),
    acr_affinity=dict(type=seeds.ACRGradientMap),
    generic=dict(type=seeds.GenericAttentionRelevance),
    rollout=dict(type=seeds.AttentionRollout),
    grad_cam=dict(type=seeds.AttentionGradCAM),
)
look.update(batch_size=50)
rows = [
    {name: dict(look, head=head), f'{name}_score': dict(score, seeds=name)}
    for name, head in heads.items()
]
seeding = [dict(classifier=train), *rows]
pseudo_labels = dict(
    pseudo=dict(
        refine,
        seeds='cam',
        threshold='cam_score',
        threshold_factor=0.8,  # the CRF takes away from objects: begin with more
        # Widths of the kernels are for photos of 500 px and are scaled to 64.
        refiners=[
            dict(type=refiners.ConstantBackground),
            dict(type=refiners.DenseCRF, preset='psa', reference_size=500),
        ],
    ),
    pseudo_score=dict(score_labels, labels='pseudo'),
)
segmentation.prediction.update(scales=(0.75, 1.0, 1.25))
report.update(
    title='From image-level labels to segmentation',
    notes=(
        'Synthetic images of 64 px, every network from scratch. The classifier saw '
        'image-level labels only, and no network was trained on a ground-truth mask. '
        'One number comes from masks: the threshold that the pseudo labels start from.'
    ),
    seeds=[f'{name}_score' for name in heads],
)
pipeline = [*seeding, pseudo_labels, segmentation, report]
