"""Training of the multi-scale segmentor; its logits are compared in tests/golden."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import CrossEntropyLoss
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from wsss_plugins.errors import ConfigError
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.segmentors import MultiScaleSegmentor
from wsss_plugins.segmentors.multi_scale import shrink_label


class Stem(BaseModule):
    """Four channels at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 5, 4, 2)

    def forward(self, images):
        return (self.conv(images),)


def head() -> dict:
    return dict(
        type=FCNHead, in_channels=4, channels=4, in_index=0, num_convs=0, num_classes=3,
        concat_input=False, kernel_size=1, dropout_ratio=0,
        loss_decode=dict(type=CrossEntropyLoss, avg_non_ignore=True),
    )  # fmt: skip


def make(**changes) -> MultiScaleSegmentor:
    config = dict(
        type=MultiScaleSegmentor, backbone=dict(type=Stem), decode_head=head(),
        train_cfg={}, test_cfg=dict(mode='whole'),
    )  # fmt: skip
    return build_as(MODELS, {**config, **changes}, MultiScaleSegmentor)


def batch() -> tuple[torch.Tensor, list[SegDataSample], torch.Tensor]:
    """Two images of 40x60 and their label maps, a fifth of the pixels ignored."""
    labels = torch.randint(3, (2, 1, 40, 60))
    labels[torch.rand(labels.shape) < 0.2] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    return torch.randn(2, 3, 40, 60), samples, labels[:, 0]


def by_hand(model: MultiScaleSegmentor, images) -> list[torch.Tensor]:
    """Logits of the image, of both copies, and their maximum."""

    def forward(x):
        return model.decode_head.conv_seg(model.backbone.conv(x))

    full = forward(images)
    half, three = (
        forward(F.interpolate(images, size=size, mode='bilinear'))
        for size in ((20, 30), (30, 45))
    )
    large = [F.interpolate(x, full.shape[2:], mode='bilinear') for x in (half, three)]
    return [full, half, three, torch.maximum(torch.maximum(full, large[0]), large[1])]


def nearest(label: torch.Tensor, size) -> np.ndarray:
    """Pillow's nearest pixel, as the port shrinks label maps."""
    image = Image.fromarray(label.numpy().astype(np.uint8))
    return np.array(image.resize((size[1], size[0]), Image.Resampling.NEAREST))


def test_loss_is_one_for_each_scale_and_one_for_the_maximum() -> None:
    model = make()
    images, samples, labels = batch()
    losses = model.loss(images, samples)
    wanted = {}
    names = ('1', '0.5', '0.75', 'max')
    for name, logits in zip(names, by_hand(model, images), strict=True):
        size = logits.shape[2:]
        small = torch.from_numpy(np.stack([nearest(label, size) for label in labels]))
        loss = F.cross_entropy(logits, small.long(), ignore_index=255)
        wanted[f'scale_{name}.loss_ce'] = loss
    found = {k: v for k, v in losses.items() if k.endswith('loss_ce')}
    assert found.keys() == wanted.keys()
    for name, loss in wanted.items():
        torch.testing.assert_close(found[name], loss)
    total, _ = model.parse_losses(losses)
    torch.testing.assert_close(total, sum(wanted.values()))


def test_loss_at_the_size_of_the_label_map() -> None:
    model = make(shrink_labels=False)
    images, samples, labels = batch()
    losses = model.loss(images, samples)
    half = F.interpolate(by_hand(model, images)[1], size=(40, 60), mode='bilinear')
    wanted = F.cross_entropy(half, labels, ignore_index=255)
    torch.testing.assert_close(losses['scale_0.5.loss_ce'], wanted)


def test_auxiliary_heads_see_the_image_only() -> None:
    model = make(auxiliary_head=head())
    images, samples, _ = batch()
    losses = model.loss(images, samples)
    features = model.extract_feat(images)
    alone = model.auxiliary_head.loss(features, samples, None)
    assert losses['aux.loss_ce'] == alone['loss_ce']


def test_predicts_at_the_size_of_the_image() -> None:
    model = make().eval()
    images = torch.randn(1, 3, 37, 50)
    logits = model.encode_decode(images, [dict(img_shape=(37, 50))])
    small = model(images, mode='tensor')
    wanted = F.interpolate(small, size=(37, 50), mode='bilinear')
    assert logits.shape == (1, 3, 37, 50)
    torch.testing.assert_close(logits, wanted)


@pytest.mark.parametrize('size', [(41, 41), (5, 8), (13, 29), (40, 56), (1, 1)])
def test_shrinks_labels_to_the_pixel_at_each_centre(size) -> None:
    label = torch.randint(256, (1, 40, 56))
    found = shrink_label(label, size)
    rows, columns = (
        [(2 * i + 1) * have // (2 * want) for i in range(want)]
        for have, want in zip((40, 56), size, strict=True)
    )
    assert found.dtype == label.dtype
    assert torch.equal(found, label[:, rows][:, :, columns])


def test_refuses_scales_that_are_not_positive() -> None:
    with pytest.raises(ConfigError, match='must be positive'):
        make(scales=(0.5, 0))
