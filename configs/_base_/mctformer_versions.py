"""MCTformer V1, V2 and +: heads of the model, and seed heads of its maps."""

from wsss_plugins import losses, seeds

# As overrides of a training config, which has V2.
versions = {
    'v1': {'model.head.sources': ('class',)},
    'v2': {},
    'plus': {
        'model.head.pool': 'rank',
        'model.head.contrast': dict(type=losses.ClassContrastLoss),
    },
}
# V1 and V2 read the last three blocks, + all of them.
maps = {
    'v1': dict(type=seeds.MCTformerMap, fuse='mct', layers=3),
    'v2': dict(type=seeds.MCTformerMap, fuse='product', layers=3),
    'plus': dict(type=seeds.MCTformerMap, fuse='sqrt', layers=12, reduce='mean'),
}
