"""Tables 2 and 4 to 8 and figure 8 of ACR on the animals of Pascal VOC.

    wsss run voc_animals/claims_acr --data-root VOC2012

Rows are in the order of the paper; maps are those of train at one scale, without affinity
refinement (_plain) and with it (_refined). Half of the patches is dropped in training, but
not in table 6, where MCTformer needs them all: its models see crops of 320 px. The views of
table 7 change pixels: photos are 256 px wide there, without kept features.
"""

from mmengine.config import read_base
from wsss_plugins import classifiers, seeds, stages
from wsss_plugins.datasets import CropView, PackClassInputs

with read_base():
    from .._base_.acr_ablations import distances, heads, regularisations, views
    from .._base_.frozen_data import view as _view
    from .acr import model as _acr
    from .pipeline import *
trainings.update(acr='acr.py', mctformer='mctformer.py')
plain, refined = (
    dict(type=seeds.ACRGradientMap, start_block=-2, affinity=affinity)
    for affinity in (False, True)
)
acr_maps = dict(maps, model='both', head=refined, flip=False)
# Tables 4 and 8, and a row with weights of 1 in place of the paper's 100. The first rows of
# table 2, the last one of table 8 and block 2 of figure 8 are both_plain and both_refined.
_weights = (f'model.consistency.{kind}_weight' for kind in ('activation', 'affinity'))
distances.pop('l1')
ablations = dict(regularisations, **distances, weights_1=dict.fromkeys(_weights, 1.0))
half = {'model.drop_patches': 0.5}
# Table 6, all on crops.
_crop = [_view, dict(type=CropView, size=320), dict(type=PackClassInputs)]
cropped = {'train_dataloader.dataset.pipeline': _crop}
_by_acr = {
    'model.type': classifiers.ACRClassifier,
    'model.consistency': dict(_acr.consistency),
}
mct_plain, mct_refined = (
    dict(type=seeds.MCTformerMap, fuse='product', layers=3, refine=refine)
    for refine in (False, True)
)
rows = {
    name: ('acr', half | options, plain, refined) for name, options in ablations.items()
}
rows.update(
    mctformer=('mctformer', cropped, mct_plain, mct_refined),
    mctformer_acr=('mctformer', cropped | _by_acr, mct_plain, mct_refined),
    acr=('acr', cropped, plain, refined),
)
trained = [
    {
        name: dict(train, config=config, options=options),
        f'{name}_plain': dict(acr_maps, model=name, head=one),
        f'{name}_plain_score': dict(score, seeds=f'{name}_plain'),
        f'{name}_refined': dict(acr_maps, model=name, head=two),
        f'{name}_refined_score': dict(score, seeds=f'{name}_refined'),
    }
    for name, (config, options, one, two) in rows.items()
]
_power, _walk = walk
table2 = dict(
    acr_confident=dict(pseudo_labels.confident, seeds='both_plain'),
    acr_affinity=dict(pseudo_labels.affinity, label_maps='acr_confident'),
    acr_pseudo=dict(
        pseudo_labels.pseudo,
        seeds='both_refined',
        refiners=[fifth_root, _power, dict(_walk, affinity='acr_affinity'), smooth],
    ),
    acr_pseudo_score=dict(score_labels, labels='acr_pseudo'),
)
# Table 5: ways to read one model, the last of which is both_refined; figure 8.
heads.pop('acr')
heads = {f'by_{name}': head for name, head in heads.items()}
heads |= {f'from_block_{b}': dict(refined, start_block=b) for b in (0, 1, 3)}
table5 = [
    {name: dict(acr_maps, head=head), f'{name}_score': dict(score, seeds=name)}
    for name, head in heads.items()
]
_small = {
    f'{loader}_dataloader.{reader}.max_side': 256
    for loader in ('train', 'val')
    for reader in ('batch_sampler', 'dataset.pipeline.0')
}
small_maps = dict(acr_maps, features=None, max_side=256)
table7 = [
    {
        f'view_{name}': dict(
            type=stages.TrainStage, config='acr', options=_small | options
        ),
        f'view_{name}_maps': dict(small_maps, model=f'view_{name}'),
        f'view_{name}_score': dict(score, seeds=f'view_{name}_maps'),
    }
    for name, options in views.items()
]
pipeline = [dict(features=features), *trained, table2, *table5, *table7]
