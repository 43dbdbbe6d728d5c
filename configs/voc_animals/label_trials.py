"""Why pipeline.py makes its pseudo labels as it does: each choice changed alone.

Scored on the masks of every fourth photo of train. Shares the work dir of pipeline.py.
"""

from mmengine.config import read_base

with read_base():
    from .pipeline import *
_fourth = dict(indices=list(range(0, 437, 4)))
_images, _masks = dict(datasets.images, **_fourth), dict(datasets.masks, **_fourth)
_chains = dict(
    as_chosen=[fifth_root, *walk, smooth],
    no_root=[*walk, smooth],
    square_root=[square_root, *walk, smooth],
    tenth_root=[dict(fifth_root, power=0.1), *walk, smooth],
    no_walk=[fifth_root, walk[0], smooth],
    no_crf=[fifth_root, *walk],
    psa_crf=[fifth_root, *walk, crf],
)
_trials = [
    {
        name: dict(pseudo_labels.pseudo, dataset=_images, refiners=chain),
        f'{name}_score': dict(pseudo_labels.pseudo_score, labels=name, dataset=_masks),
    }
    for name, chain in _chains.items()
]
pipeline = [seeding, pseudo_labels, *_trials]
