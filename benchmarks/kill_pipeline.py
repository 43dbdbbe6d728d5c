"""Every kind of stage on a few tiny photos, two epochs a training: see kill_campaign.py.

It runs in a folder with ``data/VOC2012``, the trees of VOC and COCO in one, ``maps`` and
``maps_coco``, seeds of another program, and ``labels``, its label maps.
"""

from mmengine.config import read_base
from mmseg.datasets.transforms import PackSegInputs

from wsss_plugins import affinity as affinities
from wsss_plugins import backbones, datasets, stages
from wsss_plugins.report import ErrorStage

with read_base():
    from ..tests.earlier_version.pipeline import (
        affinity,
        images,
        masks,
        once,
        pipeline,
        segmentor,
    )

_by_name = {stage['name']: stage for stage in pipeline}
for _name in ('classifier', 'affinity', 'segmentor'):
    _by_name[_name].config.train_cfg.max_epochs = 2
segmentor.train_dataloader.num_workers = 1
for _name in ('confident', 'pseudo'):
    _by_name[_name].update(batch_size=2)
_by_name['cam'].update(batch_size=2)
_by_name['pseudo'].update(soft=True)
irn = dict(
    once,
    model=dict(
        type=affinities.IRNet,
        backbone=affinity.model.backbone,
        in_channels=(2, 4, 8),
        strides=(2, 4, 8),
        edge_channels=4,
        channels=(4, 4, 4),
        groups=(2, 2, 2),
        joined=4,
        radius=3,
        train_radius=3,
    ),
    train_dataloader=dict(
        affinity.train_dataloader,
        dataset=dict(
            images,
            label_maps='agreed_labels',
            pipeline=[
                dict(type=datasets.LoadImage),
                dict(type=datasets.LoadLabelMap),
                dict(type=datasets.ShrinkLabelMap, stride=2),
                dict(type=PackSegInputs),
            ],
        ),
    ),
    custom_hooks=[dict(type=affinities.MeanDisplacementHook)],
)
coco = dict(type=datasets.COCO14, data_root='data/VOC2012', split='train2014')
more = [
    dict(
        type=stages.FeatureStage,
        name='features',
        network=dict(type=backbones.TimmMaps, name='test_efficientnet', indices=(2, 3)),
        dataset=images,
        max_side=None,
    ),
    dict(
        type=stages.AgreedLabelStage,
        name='agreed',
        seeds='cam',
        dataset=images,
        workers=1,
    ),
    dict(
        type=stages.TrainStage,
        name='irn',
        config=irn,
        label_maps='agreed',
        backbone='classifier',
    ),
    dict(
        type=stages.InstanceLabelStage,
        name='objects',
        seeds='cam',
        model='irn',
        dataset=images,
        log_steps=2,
        steps=20,
    ),
    dict(
        type=stages.EvaluateInstanceLabelStage,
        name='objects_score',
        instances='objects',
        dataset=masks,
    ),
    dict(
        type=stages.SegmentVoteStage,
        name='voted',
        labels='pseudo',
        dataset=images,
        segments='labels',
    ),
    dict(
        type=stages.ImportSeedStage,
        name='imported',
        path='maps',
        dataset=images,
        format='wsss',
    ),
    dict(
        type=stages.ImportLabelStage,
        name='imported_labels',
        path='labels',
        dataset=images,
    ),
    dict(type=stages.FolderStage, name='folder', path='maps_coco'),
    dict(type=ErrorStage, name='errors', source='pseudo', dataset=masks),
    dict(
        type=stages.EvaluateInstanceStage,
        name='instances',
        seeds='folder',
        dataset=coco,
    ),
]
pipeline = [*pipeline[:-1], *more, pipeline[-1]]
