"""Background policies by hand."""

from __future__ import annotations

import pytest
import torch

from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics import SeedIoU
from wsss_plugins.refiners import (
    ConstantBackground,
    DenseCRF,
    OtsuBackground,
    PowerBackground,
    QuantileBackground,
    RefinerChain,
    label_free_threshold,
    score_histogram,
)
from wsss_plugins.structures import Seed

IMAGE = torch.zeros(3, 1, 3, dtype=torch.uint8)
GREY = torch.full((3, 40, 60), 120, dtype=torch.uint8)
SEED = Seed(torch.tensor([[[0.0, 2.0, 4.0]], [[0.0, 1.0, 0.5]]]), torch.tensor([3, 7]))


def test_constant() -> None:
    refined = ConstantBackground(0.6)(IMAGE, SEED)
    assert torch.allclose(refined.background, torch.full((1, 3), 0.6))
    assert torch.allclose(refined.scores[0], torch.tensor([[0.0, 0.5, 1.0]]), atol=1e-5)
    assert refined.to_label().tolist() == [[0, 8, 4]]


def test_power_is_one_minus_the_strongest_class_to_alpha() -> None:
    seed = Seed(SEED.scores / 8, SEED.classes)  # strongest: 0, 0.25, 0.5
    refined = PowerBackground(2, normalise=False)(IMAGE, seed)
    assert torch.allclose(refined.background, torch.tensor([[1, 0.5625, 0.25]]))
    assert torch.equal(refined.scores, seed.scores)


def test_power_normalises_first_by_default() -> None:
    background = PowerBackground(3)(IMAGE, SEED).background
    assert torch.allclose(background, torch.tensor([[1.0, 0.0, 0.0]]), atol=1e-5)


def test_power_of_scores_above_one_is_zero() -> None:
    background = PowerBackground(4, normalise=False)(IMAGE, SEED).background
    assert background.tolist() == [[1, 0, 0]]


def test_quantile_gives_every_image_its_share_of_foreground() -> None:
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    for strength in (1, 0.1):
        scores = strength * torch.rand(2, 20, 30)
        seed = Seed(scores, torch.tensor([3, 7]))
        refined = QuantileBackground(0.25, normalise=False)(image, seed)
        assert refined.background.unique().numel() == 1
        assert (refined.to_label() > 0).sum() == 150


def test_otsu_is_the_criterion_on_one_image() -> None:
    scores = torch.rand(2, 9, 14) ** 2
    scores[:, :, :5] /= 4
    seed = Seed(scores, torch.tensor([3, 7]))
    image = torch.zeros(3, 9, 14, dtype=torch.uint8)
    background = OtsuBackground(normalise=False)(image, seed).background
    expected = label_free_threshold(score_histogram(scores.numpy()), 'otsu')
    assert torch.equal(background, torch.full((9, 14), expected))


@pytest.mark.parametrize('level', [0, 0.4])
def test_otsu_calls_an_image_without_contrast_background(level: float) -> None:
    seed = Seed(torch.full((1, 1, 3), level), torch.tensor([3]))
    refined = OtsuBackground(normalise=False)(IMAGE, seed)
    assert refined.to_label().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize('policy', [ConstantBackground(0.3), PowerBackground(4)])
def test_an_image_without_classes_is_background(policy) -> None:
    empty = Seed(torch.zeros(0, 1, 3), torch.zeros(0, dtype=torch.int64))
    refined = policy(IMAGE, empty)
    assert (refined.background > 0).all()
    assert refined.to_label().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    'make',
    [
        lambda: ConstantBackground(1.5),
        lambda: ConstantBackground(-0.1),
        lambda: PowerBackground(0),
        lambda: QuantileBackground(0),
        lambda: QuantileBackground(1.0),
    ],
)
def test_numbers_out_of_range_are_refused(make) -> None:
    with pytest.raises(ConfigError, match='must be'):
        make()


def test_chain_applies_in_order_and_takes_configs() -> None:
    chain = RefinerChain(
        [dict(type='ConstantBackground', threshold=0.9), PowerBackground(1)]
    )
    assert torch.allclose(
        chain(IMAGE, SEED).background, torch.tensor([[1.0, 0.0, 0.0]]), atol=1e-5
    )
    swapped = RefinerChain(chain.refiners[::-1])
    assert torch.allclose(swapped(IMAGE, SEED).background, torch.tensor(0.9))


def test_chain_refuses_what_is_no_refiner() -> None:
    with pytest.raises(ConfigError, match='PowerBackground'):
        RefinerChain([dict(type='PowerBackgroud')])
    with pytest.raises(ConfigError, match='no refiner'):
        RefinerChain([dict(type=torch.nn.Linear)])


@pytest.mark.parametrize('threshold', [0.0, 0.002, 0.3])
def test_a_threshold_cuts_as_evaluation_does(threshold: float) -> None:
    """Foreground is what exceeds it, ties are background; also after the CRF."""
    scores = torch.zeros(1, 40, 60)
    scores[:, 10:26, 20:36] = torch.linspace(0.001, 1, 256).view(16, 16)
    scores[:, 0, 0] = threshold
    seed = Seed(scores, torch.tensor([4]))
    refined = ConstantBackground(threshold, normalise=False)(GREY, seed)
    expected = scores[0] > threshold
    assert torch.equal(refined.to_label() == 5, expected)
    metric = SeedIoU(5, [threshold])
    metric.update(scores, seed.classes, torch.zeros(40, 60, dtype=torch.uint8))
    assert metric.compute().confusion[0, 0, 5] == int(expected.sum())


def test_zeros_at_threshold_0_stay_background_in_a_crf() -> None:
    """A bright square that is all there is: the whole image was foreground before."""
    image = torch.full((3, 40, 60), 120, dtype=torch.uint8)
    image[:, 10:26, 20:36] = 230
    scores = torch.zeros(1, 40, 60)
    scores[:, 10:26, 20:36] = 0.8
    seed = Seed(scores, torch.tensor([0]))
    for threshold in (0.0, 0.005):
        chain = RefinerChain([ConstantBackground(threshold), DenseCRF('psa')])
        label = chain(image, seed).to_label()
        assert torch.equal(label == 1, scores[0] > 0)
