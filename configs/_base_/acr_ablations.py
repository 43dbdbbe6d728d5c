"""The rows of ACR's ablations, as overrides of a training config."""

from wsss_plugins import losses, seeds

# Table 4: region activation and region affinity consistency. The baseline classifies two
# views as the others do.
_no_activation = {'model.consistency.activation_weight': 0.0}
_no_affinity = {'model.consistency.affinity_weight': 0.0}
_baseline = _no_activation | _no_affinity
regularisations = {
    'baseline': _baseline,
    'act': _no_affinity,
    'aff': _no_activation,
    'both': {},
}

# Figure 1: SEAM*, consistency of class maps alone, on a transformer.
trainings = {
    'baseline': _baseline,
    'seam': _baseline
    | {'model.equivariance': dict(type=losses.MapEquivarianceLoss, weight=1.0)},
    'acr': {},
}

# Table 5: what reads the maps out of one model that ACR has trained.
heads = {
    'cam': dict(type=seeds.CAM),
    'ts_cam': dict(type=seeds.TSCAM),
    'grad_cam': dict(type=seeds.AttentionGradCAM),
    'generic': dict(type=seeds.GenericAttentionRelevance),
    'generic_refined': dict(
        type=seeds.AffinityRefined, head=dict(type=seeds.GenericAttentionRelevance)
    ),
    'acr': dict(type=seeds.ACRGradientMap, start_block=-2, affinity=True),
}

# Table 7: what makes the second view. A list is a composition, from left to right.
views = {
    'baseline': _baseline,
    'resize': {'model.view': 'resize'},
    'rotation': {'model.view': 'rotation'},
    'hflip_resize': {'model.view': ['hflip', 'resize']},
    'hflip_vflip': {'model.view': ['hflip', 'vflip']},
    'hflip_hide': {'model.view': ['hflip', 'hide']},
    'hflip_grey': {'model.view': ['hflip', 'grey']},
    'hflip': {'model.view': 'hflip'},
}

# Table 8: how the attention of two views is compared.
distances = {
    name: {'model.consistency.distance': name} for name in ('l1', 'l2', 'smooth_l1')
}
