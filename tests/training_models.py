"""A small model of every kind that is trained here, with a batch, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from wsss_plugins.affinity import AffinityNet, IRNet
from wsss_plugins.backbones import ExViT, MultiClassTokenViT, TimmCNN, TimmViT
from wsss_plugins.classifiers import (
    ACRClassifier,
    ExViTClassifier,
    MaskedDenoiser,
    TimmClassifier,
    WSSSClassifier,
)
from wsss_plugins.registry import SCOPE
from wsss_plugins.segmentors import MultiScaleSegmentor
from wsss_plugins.structures import ClassSample

CLASSES = 5
SIZE = (32, 40)
VIT = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2)
LOSS = dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True)
RESNET = dict(
    type='DeepLabResNet', depth=18, base_channels=8, stem_channels=8, norm_eval=True,
    strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), out_indices=(3,),
)  # fmt: skip


class AsGiven(nn.Module):
    """A data preprocessor that leaves float64 as it is."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        return data


class Maps(BaseModule):
    """Maps of stride 2, 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(c, n, 3, stride=2, padding=1) for c, n in ((3, 4), (4, 6), (6, 8))
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for conv in self.convs:
            images = conv(images).relu()
            maps.append(images)
        return tuple(maps)


def tokens(**head: Any) -> dict[str, Any]:
    return dict(dict(type='TokenHead', num_classes=CLASSES), **head)


def ex_vit() -> ExViTClassifier:
    head = tokens(type='AttributeHead', channels=12, attributes=3)
    model = ExViTClassifier(backbone=ExViT(fuse_blocks=2, **VIT), head=head)
    for value in model.momentum.state_dict().values():
        value += 0.05 * torch.randn_like(value)  # a branch of its own
    return model


def denoiser() -> MaskedDenoiser:
    model = MaskedDenoiser(TimmViT(**VIT))
    setattr(model, 'damage', lambda images, generator=None: images.round())  # noqa: B010
    return model


def without_dropout(model: BaseModel) -> BaseModel:
    """Draws differ between pieces and between workers."""
    for part in model.modules():
        if isinstance(getattr(part, 'dropout', None), float):
            part.dropout = 0.0
    return model


def segmentor(
    backbone: dict[str, Any], head: dict[str, Any], kind: type = EncoderDecoder
) -> EncoderDecoder:
    head = dict(dict(num_classes=CLASSES, in_index=0, loss_decode=LOSS), **head)
    return kind(backbone=backbone, decode_head=head, train_cfg={}, test_cfg={})


DEEPLAB = dict(type='DeepLabV2Head', in_channels=64, dilations=(1, 2))
MAPS = (4, 6, 8)
KINDS: dict[str, Callable[[], BaseModel]] = {
    'vit': lambda: WSSSClassifier(TimmViT(**VIT), tokens()),
    'cnn': lambda: WSSSClassifier(
        TimmCNN('test_resnet', output_stride=8, norm_eval=True),
        tokens(sources=('patch',)),
    ),
    'class tokens': lambda: WSSSClassifier(
        MultiClassTokenViT(num_classes=CLASSES, **VIT), tokens(type='MCTHead')
    ),
    'acr': lambda: ACRClassifier(
        backbone=TimmViT(**VIT),
        head=tokens(),
        view=['hflip', 'grey'],
        equivariance=dict(type='MapEquivarianceLoss'),
    ),
    'ex-vit': ex_vit,
    'timm': lambda: TimmClassifier(
        'vit_tiny_patch16_224', pretrained=False, num_classes=CLASSES,
        **dict(VIT, img_size=SIZE),
    ),
    'denoiser': denoiser,
    'deeplab': lambda: segmentor(RESNET, DEEPLAB),
    'several scales': lambda: segmentor(RESNET, DEEPLAB, MultiScaleSegmentor),
    'weighted classes': lambda: segmentor(
        RESNET, dict(DEEPLAB, loss_decode=dict(type='mmseg.CrossEntropyLoss', class_weight=[0.4, 1, 2, 3, 4]))
    ),
    'balanced': lambda: segmentor(
        RESNET, dict(DEEPLAB, loss_decode=dict(type='BalancedCrossEntropyLoss'))
    ),
    'vgg16': lambda: segmentor(
        dict(type='VGG16LargeFOV', base_channels=4, fc_channels=8, dropout=0.0),
        dict(
            type='mmseg.FCNHead', in_channels=8, channels=8, num_convs=0,
            kernel_size=1, concat_input=False, dropout_ratio=0,
        ),
    ),
    'resnet38': lambda: without_dropout(
        segmentor(
            dict(type='WideResNet38', base_channels=2),
            dict(type='LargeFOVHead', in_channels=128, channels=8, in_index=2),
        )
    ),
    'context': lambda: segmentor(
        dict(type=Maps),
        dict(
            type='GlobalContextHead', in_channels=MAPS, in_index=(0, 1, 2), channels=8,
            norm_cfg=dict(type='GN', num_groups=2), dropout_ratio=0,
        ),
    ),
    'affinity': lambda: AffinityNet(
        dict(type=Maps), MAPS, (4, 4, 4), stride=2, radius=3
    ),
    'irn': lambda: IRNet(
        dict(type=Maps), MAPS, (2, 4, 8), edge_channels=4, edge_groups=2,
        channels=(4, 4, 8), groups=(2, 2, 2), joined=8, radius=3, train_radius=3,
    ),
}  # fmt: skip
"""How to build each; a new kind of model that is trained adds a line."""

COUPLED = {'affinity': 'AffinityLoss', 'irn': 'AffinityLoss'}
"""Models whose loss divides by counts of the whole batch, and that loss."""


def build(name: str) -> BaseModel:
    """A model in training mode, always with the same weights."""
    init_default_scope(SCOPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = KINDS[name]().double()
        for parameter in model.parameters():
            if parameter.ndim > 1 and not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    model.data_preprocessor = AsGiven()
    return model.train()


def batch(model: BaseModel, count: int, seed: int = 1) -> dict[str, Any]:
    """Images and what a model learns from, for so many images; of each seed others."""
    numbers = torch.Generator().manual_seed(seed)
    shape = (
        (count, 2, 3, *SIZE)
        if isinstance(model, ExViTClassifier)
        else (count, 3, *SIZE)
    )
    images = torch.randn(shape, generator=numbers, dtype=torch.float64)
    if isinstance(model, WSSSClassifier | MaskedDenoiser):
        samples = [ClassSample() for _ in images]
        labels = torch.randint(0, 2, (count, CLASSES), generator=numbers).double()
        for sample, label in zip(samples, labels, strict=True):
            sample.gt_label = label
        return dict(inputs=images, data_samples=samples)
    size = tuple(-(-side // getattr(model, 'stride', 1)) for side in SIZE)
    labels = torch.randint(0, CLASSES, (count, 1, *size), generator=numbers)
    for index, label in enumerate(labels):  # of each image another share is unsure
        label[:, : 1 + 3 * index % size[0]] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    return dict(inputs=images, data_samples=samples)


def part_of(data: dict[str, Any], chosen: slice) -> dict[str, Any]:
    """Some images of a batch."""
    return {key: value[chosen] for key, value in data.items()}


def gradients(model: BaseModel) -> dict[str, Tensor]:
    """The gradients of the weights that are trained, by name."""
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert any(bool(g.any()) for g in found.values()), 'nothing was learnt'
    return found
