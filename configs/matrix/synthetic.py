"""Ten seed heads, two encoders of one size and three refiners on the synthetic data set.

Run it with wsss matrix. Maps are made of the 400 validation images, not of the
2,000 that the classifiers learnt from, so that one CPU core is enough.
"""

from mmengine.config import read_base
from wsss_plugins import backbones, refiners, seeds
from wsss_plugins.datasets import VOC12

with read_base():
    from .._base_.synthetic_data import data_root
images = dict(type=VOC12, data_root=data_root, split='val')
datasets = dict(
    images=images, masks=dict(images, label_maps='SegmentationClass', test_mode=True)
)
background = dict(type=refiners.ConstantBackground)
# Widths of the kernels are for photos of 500 px and are scaled to 64.
crf = dict(type=refiners.DenseCRF, preset='psa', reference_size=500)

matrix = dict(
    title='Seed heads, encoders and refiners on synthetic images',
    notes=(
        'Synthetic images of 64 px, every network from scratch, from image-level labels '
        'only. Maps are made of the 400 validation images, given their image-level '
        'labels, and scored on them; pseudo labels to train on would be made of the 2,000 '
        'training images.'
    ),
    classifiers=dict(
        vit='../psa/synthetic.py',
        exvit=dict(
            config='../psa/synthetic.py',
            options={
                'model.backbone.type': backbones.ExViT,
                'model.backbone.fuse_blocks': 3,
                'model.backbone.patch': 'fused',
                'model.backbone.scale': 'tokens',
            },
        ),
    ),
    heads=dict(
        cam=dict(type=seeds.CAM),
        acr=dict(type=seeds.ACRGradientMap, affinity=False),
        acr_affinity=dict(type=seeds.ACRGradientMap),
        generic=dict(type=seeds.GenericAttentionRelevance),
        grad_cam=dict(type=seeds.AttentionGradCAM),
        legrad=dict(type=seeds.LeGrad),
        getam=dict(type=seeds.GETAM),
        input_x_gradient=dict(type=seeds.InputXGradient),
        rollout=dict(type=seeds.AttentionRollout),
        transformer_attribution=dict(type=seeds.TransformerAttribution),
    ),
    refiners=dict(
        none=[background],
        crf=[background, crf],
        pamr=[background, dict(type=refiners.PAMR)],
    ),
    seeds=[0, 1, 2],
    images='images',
    masks='masks',
    maps=dict(batch_size=50),
    refine=dict(threshold='otsu'),
)
