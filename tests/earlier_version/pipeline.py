"""A road of tiny networks with most kinds of stages; its results by commit d557e48 are in work/."""

from mmcv.transforms import RandomFlip
from mmengine.dataset import DefaultSampler
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, ValLoop
from mmseg.datasets.transforms import PackSegInputs
from mmseg.evaluation.metrics import IoUMetric
from mmseg.models.backbones import ResNetV1c
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.losses import CrossEntropyLoss
from mmseg.models.segmentors import EncoderDecoder
from torch.optim import SGD, AdamW

from wsss_plugins.affinity import AffinityNet
from wsss_plugins.backbones import TimmViT, TransformerStem
from wsss_plugins.classifiers import ACRClassifier, AttentionEntropyHook, TokenHead
from wsss_plugins.datasets import (
    VOC12,
    ColorJitter,
    LoadConfidentScores,
    LoadImage,
    LoadLabelMap,
    PackClassInputs,
    PoolConfidentLabels,
    RandomCropPad,
)
from wsss_plugins.losses import AffinityLoss, AttentionConsistencyLoss
from wsss_plugins.metrics import MultiLabelAP
from wsss_plugins.refiners import (
    ConstantBackground,
    DenseCRF,
    PowerBackground,
    RandomWalk,
)
from wsss_plugins.report import ReportStage
from wsss_plugins.seeds import CAM, ACRGradientMap
from wsss_plugins.segmentors import DeepLabV2Head
from wsss_plugins.stages import (
    ConfidentLabelStage,
    EvaluateAffinityStage,
    EvaluateLabelStage,
    EvaluateSeedStage,
    ExportSeedStage,
    InsertionDeletionTestStage,
    PerturbationTestStage,
    PredictStage,
    RefineStage,
    SeedStage,
    SeedSweepStage,
    SegmentationTestStage,
    SubmissionStage,
    TrainStage,
)

seed = 0
images = dict(type=VOC12, data_root='data/VOC2012', split='train')
masks = dict(images, label_maps='SegmentationClass', test_mode=True)
val_images = dict(images, split='val', test_mode=True)
val_masks = dict(masks, split='val')
vit = dict(
    stem='conv',
    img_size=32,
    patch_size=8,
    embed_dim=8,
    depth=2,
    num_heads=2,
    mlp_ratio=1,
)
once = dict(
    train_cfg=dict(type=EpochBasedTrainLoop, max_epochs=1),
    optim_wrapper=dict(type=OptimWrapper, optimizer=dict(type=AdamW, lr=1e-3)),
)


def loader(data, shuffle, *transforms):
    return dict(
        batch_size=4,
        num_workers=0,
        sampler=dict(type=DefaultSampler, shuffle=shuffle),
        dataset=dict(data, pipeline=[dict(type=LoadImage), *transforms]),
    )


classifier = dict(
    once,
    model=dict(
        type=ACRClassifier,
        backbone=dict(vit, type=TimmViT),
        head=dict(type=TokenHead, num_classes=6, pool_fraction=0.2),
        consistency=dict(
            type=AttentionConsistencyLoss, activation_weight=0.1, affinity_weight=0.1
        ),
        drop_patches=0.5,
    ),
    train_dataloader=loader(
        images,
        True,
        dict(type=RandomFlip, prob=0.5),
        dict(type=RandomCropPad, size=32),
        dict(type=PackClassInputs),
    ),
    val_dataloader=loader(val_images, False, dict(type=PackClassInputs)),
    val_evaluator=dict(type=MultiLabelAP),
    val_cfg=dict(type=ValLoop),
    custom_hooks=[dict(type=AttentionEntropyHook)],
)
affinity = dict(
    once,
    model=dict(
        type=AffinityNet,
        backbone=dict(vit, type=TransformerStem, pretrained=None),
        in_channels=(2, 4, 8),
        channels=(4, 4, 4),
        groups=2,
        stride=2,
        border='irn',
        loss=dict(type=AffinityLoss),
    ),
    train_dataloader=loader(
        dict(images, label_maps='confident_labels'),
        True,
        dict(type=LoadConfidentScores),
        dict(type=ColorJitter),
        dict(type=RandomCropPad, size=32, seg_pad=0),
        dict(type=PoolConfidentLabels, stride=2),
        dict(type=PackSegInputs),
    ),
    optim_wrapper=dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.1)),
)
segmentor = dict(
    once,
    model=dict(
        type=EncoderDecoder,
        data_preprocessor=dict(
            type=SegDataPreProcessor, size=(32, 40), pad_val=0, seg_pad_val=255
        ),
        backbone=dict(
            type=ResNetV1c,
            depth=18,
            stem_channels=2,
            base_channels=2,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            out_indices=(3,),
            norm_cfg=dict(type='BN'),
        ),
        decode_head=dict(
            type=DeepLabV2Head,
            in_channels=16,
            in_index=0,
            num_classes=7,
            dilations=(1, 2),
            loss_decode=dict(type=CrossEntropyLoss),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    ),
    train_dataloader=loader(
        dict(images, label_maps='pseudo_labels'),
        True,
        dict(type=LoadLabelMap),
        dict(type=PackSegInputs),
    ),
    val_dataloader=dict(
        loader(val_masks, False, dict(type=LoadLabelMap), dict(type=PackSegInputs)),
        batch_size=1,
    ),
    val_evaluator=dict(type=IoUMetric, iou_metrics=['mIoU'], prefix='seg'),
    val_cfg=dict(type=ValLoop),
)
methods = dict(cam=dict(type=CAM))
confident = [dict(type=PowerBackground), dict(type=DenseCRF, reference_size=500)]

pipeline = [
    dict(type=TrainStage, name='classifier', config=classifier),
    dict(
        type=SeedStage,
        name='cam',
        model='classifier',
        head=dict(type=CAM),
        dataset=images,
    ),
    dict(type=EvaluateSeedStage, name='cam_score', seeds='cam', dataset=masks),
    dict(
        type=SeedSweepStage,
        name='sweep',
        model='classifier',
        head=dict(type=ACRGradientMap),
        argument='affinity',
        values=[False, True],
        dataset=masks,
    ),
    dict(
        type=PerturbationTestStage,
        name='perturbed',
        model='classifier',
        methods=methods,
        dataset=val_images,
        steps=2,
        input_size=(32, 40),
    ),
    dict(
        type=InsertionDeletionTestStage,
        name='inserted',
        model='classifier',
        methods=methods,
        dataset=val_images,
        steps=2,
        input_size=(32, 40),
    ),
    dict(
        type=SegmentationTestStage,
        name='explained',
        model='classifier',
        methods=methods,
        dataset=val_masks,
        input_size=(32, 40),
    ),
    dict(type=ExportSeedStage, name='exported', seeds='cam'),
    dict(
        type=ConfidentLabelStage,
        name='confident',
        seeds='cam',
        dataset=images,
        refiners=confident,
        workers=1,
    ),
    dict(
        type=TrainStage,
        name='affinity',
        config=affinity,
        label_maps='confident',
        backbone='classifier',
    ),
    dict(
        type=EvaluateAffinityStage,
        name='attention_score',
        model='classifier',
        dataset=masks,
    ),
    dict(
        type=RefineStage,
        name='pseudo',
        seeds='cam',
        dataset=images,
        threshold='cam_score',
        refiners=[
            dict(type=ConstantBackground),
            dict(type=RandomWalk, affinity='affinity', log_steps=2),
        ],
        workers=1,
    ),
    dict(type=EvaluateLabelStage, name='pseudo_score', labels='pseudo', dataset=masks),
    dict(type=TrainStage, name='segmentor', config=segmentor, label_maps='pseudo'),
    dict(type=PredictStage, name='prediction', model='segmentor', dataset=val_images),
    dict(
        type=EvaluateLabelStage,
        name='prediction_score',
        labels='prediction',
        dataset=val_masks,
    ),
    dict(type=SubmissionStage, name='archive', labels='prediction', dataset=val_images),
    dict(
        type=ReportStage,
        name='report',
        title='A tiny road',
        dataset=masks,
        seeds=['cam_score'],
        labels='pseudo_score',
        predictions='prediction_score',
        prediction_dataset=val_masks,
    ),
]
