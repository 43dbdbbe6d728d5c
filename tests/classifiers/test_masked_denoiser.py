"""Pretraining without labels: what is damaged, what is predicted, what is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import MaskedDenoiser
from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics import MendedPixels
from wsss_plugins.structures import ClassSample

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)


def model(**more: object) -> MaskedDenoiser:
    return MaskedDenoiser(TimmViT(**SMALL), **more)


def patches(images: torch.Tensor) -> torch.Tensor:
    """``(N, 3, h, w, 64)``: the pixels of each patch."""
    return images.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)


def test_every_patch_is_blank_or_shifted_as_a_whole() -> None:
    images = torch.randn(40, 3, 24, 40)
    damaged = patches(model(mask_ratio=0.3, colour_shift=0.5).damage(images))
    blank = (damaged == 0).all(-1).all(1)
    assert 0.25 < blank.float().mean() < 0.35
    shift = damaged - patches(images)
    constant = shift.std(-1).amax(1) < 1e-5
    assert (blank | constant).all() and not (blank & constant).any()
    kept = shift.mean(-1).movedim(1, -1)[~blank]
    assert kept.std().item() == pytest.approx(0.5, rel=0.1)
    assert abs(torch.corrcoef(kept.T)[0, 1]) < 0.15, 'colours shift on their own'


def test_nothing_is_damaged_when_nothing_is_asked_for() -> None:
    images = torch.randn(2, 3, 24, 40)
    assert torch.equal(model(mask_ratio=0.0, colour_shift=0.0).damage(images), images)


def test_loss_against_a_slow_definition() -> None:
    net = model(pixels=2).eval()
    images = torch.randn(2, 3, 24, 40)
    net.damage = lambda images, generator=None: images * 0.5
    tokens = net.backbone(images * 0.5).patch
    weight, bias = net.decoder.weight, net.decoder.bias
    total, count = 0.0, 0
    for n in range(2):
        for i in range(3):
            for j in range(5):
                square = (weight @ tokens[n, :, i, j] + bias).reshape(3, 2, 2)
                for y in range(2):
                    for x in range(2):
                        top, left = 8 * i + 4 * y, 8 * j + 4 * x
                        mean = images[n, :, top : top + 4, left : left + 4].mean((1, 2))
                        total += (square[:, y, x] - mean).square().sum().item()
                        count += 3
    assert net(images, None, mode='loss')['loss_pixels'].item() == pytest.approx(
        total / count, rel=1e-5
    )


def test_prediction_is_the_same_each_time_and_what_the_metric_counts() -> None:
    net = model().eval()
    images = torch.randn(3, 3, 24, 40)
    first, again = (
        net(images, [ClassSample() for _ in range(3)], mode='predict') for _ in range(2)
    )
    assert [s.pred_error for s in first] == [s.pred_error for s in again]
    colours = torch.nn.functional.avg_pool2d(images, 2).double().numpy()
    spread = colours.var((2, 3)).mean(1)
    np.testing.assert_allclose([s.variance for s in first], spread, rtol=1e-5)
    metric = MendedPixels()
    metric.process(None, [dict(pred_error=1.0, variance=3.0)])
    metric.process(None, [dict(pred_error=1.0, variance=1.0)])
    assert metric.evaluate(2) == {'mended/R2': 50.0}
    metric.process(None, [dict(pred_error=9.0, variance=1.0)])
    assert metric.evaluate(1) == {'mended/R2': 0.0}


def test_it_learns_and_reads_no_label() -> None:
    net = model(mask_ratio=0.2, colour_shift=0.1)
    colours = torch.randn(16, 3, 1, 1).expand(-1, -1, 32, 32)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = net(colours, None, mode='loss')['loss_pixels']
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    assert np.mean(losses[-5:]) < 0.4 * np.mean(losses[:5])
    assert MaskedDenoiser.learns_from_labels is False


@pytest.mark.parametrize(
    ('wrong', 'token'),
    [
        (dict(mask_ratio=1.0), 'mask_ratio'),
        (dict(mask_ratio=-0.1), 'mask_ratio'),
        (dict(colour_shift=-1.0), 'colour_shift'),
        (dict(pixels=3), 'pixels'),
        (dict(pixels=0), 'pixels'),
    ],
)
def test_numbers_out_of_range_are_refused(wrong, token) -> None:
    with pytest.raises(ConfigError) as error:
        model(**wrong)
    assert error.value.token == token and '\n' not in str(error.value)
