"""Tables 1, 5 and 6 and figure 8 of eX-ViT on the animals of Pascal VOC, and its faithfulness.

    wsss run voc_animals/claims_exvit --data-root VOC2012

Rows are in the order of the paper; maps are those of train at one scale. Stages of a row
are named as the row (the training), with _maps and _score. Below table 6 are readings that
the paper leaves open, each one change of its last row: how AttE's channels meet the
tokens, the weight of L_div, the momentum, and which patches are averaged.
"""

from mmengine.config import read_base
from wsss_plugins import refiners, seeds, stages

with read_base():
    from .._base_.exvit_ablations import modules
    from .pipeline import *
trainings.update(emha='emha.py', exvit='exvit.py')
# Table 5: the plain CAM of a CNN, of softmax attention and of E-MHA's last three blocks.
_cam = {'model.head.sources': ('patch',), 'model.head.pool_fraction': 1.0}
_fused = {**_cam, 'model.backbone.patch': 'fused'}
_top = {'model.head.pool_fraction': 0.2}
encoders = dict(
    cnn_cam=('classifier', _cam),
    softmax_cam=('hybrid', _cam),
    emha_cam=('emha', _fused),
    emha_unscaled_cam=('emha', {**_fused, 'model.backbone.scale': 'none'}),
    cnn_top=('classifier', _cam | _top),
    softmax_top=('hybrid', _cam | _top),
    emha_top=('emha', _fused | _top),
)
_norm, _diversity = {'model.head.meet': 'norm'}, 'model.attribute_loss.diversity'
readings = dict(
    norm=_norm,
    norm_low=_norm | {_diversity: 0.1},
    tile_low={_diversity: 0.1},
    project={'model.head.meet': 'project'},
    momentum_99={'custom_hooks.0.momentum': 0.99},
    all_patches={'model.head.pool_fraction': 1.0},
)
rows = {n: (*row, dict(type=seeds.CAM)) for n, row in encoders.items()}
_head = dict(type=seeds.AttributeCAM)
rows |= {n: ('exvit', o, _head) for n, o in {**modules, **readings}.items()}
exvit_maps = dict(maps, flip=False)
trained = [
    {
        name: dict(train, config=config, options=options),
        f'{name}_maps': dict(exvit_maps, model=name, head=head),
        f'{name}_score': dict(score, seeds=f'{name}_maps'),
    }
    for name, (config, options, head) in rows.items()
]
# Table 1, '+ denseCRF', from a threshold that no mask chose.
table1 = dict(
    exvit_crf=dict(label_crf.crf, seeds='g_dis_div_maps'),
    exvit_crf_score=dict(score_labels, labels='exvit_crf'),
)
# Figure 8: K of 4 blocks.
figure8 = [
    {
        f'k{k}': dict(
            exvit_maps,
            model='g_dis_div',
            head=dict(type=seeds.AttributeCAM, fuse_blocks=k),
        ),
        f'k{k}_score': dict(score, seeds=f'k{k}', convention='seam'),
    }
    for k in (1, 2, 3, 4)
]
methods = dict(
    ex_vit=dict(type=seeds.AttributeCAM),
    generic_relevance=dict(type=seeds.GenericAttentionRelevance),
    legrad=dict(type=seeds.LeGrad),
    input_x_gradient=dict(type=seeds.InputXGradient),
    integrated_gradients=dict(type=seeds.IntegratedGradients),
)
test = dict(model='g_dis_div', methods=methods, input_size=(320, 320), batch_size=10)
test.update(dataset=dict(datasets.val_images, sample=30))
faithfulness = dict(
    exvit_perturbation=dict(
        test, type=stages.PerturbationTestStage, explained=['target']
    ),
    exvit_insertion=dict(
        test,
        type=stages.InsertionDeletionTestStage,
        explained='target',
        probability='sigmoid',
        steps=16,
    ),
    exvit_segmentation=dict(
        test,
        type=stages.SegmentationTestStage,
        dataset=dict(datasets.masks, sample=50),
        explained='target',
        foreground='class',
    ),
)
pipeline = [dict(features=features), *trained, table1, *figure8, faithfulness]
