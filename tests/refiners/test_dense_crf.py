"""The dense CRF: laws, and the marginals of pydensecrf.

Golden marginals stored as float32 must agree to 1e-5, those stored as float16 to 1e-3,
and 99.99 % of the winning labels in both.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners import PRESETS, DenseCRF, PowerBackground
from wsss_plugins.refiners.dense_crf import (
    dense_crf,
    unary_from_labels,
    unary_from_scores,
)
from wsss_plugins.structures import Seed

SETTINGS = dict(psa='psa', acrinf='acr', mctinf='mctformer', deeplab='deeplab')


def to_image(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)


def by_preset(image: Tensor, unary: Tensor, preset: str, steps: int = 10) -> Tensor:
    settings = PRESETS[preset]
    return dense_crf(image, unary, settings.gaussian, settings.bilateral, steps)


def random_case(height: int = 13, width: int = 18, labels: int = 4):
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return image, unary_from_scores(torch.rand(labels, height, width))


def assert_marginals(ours: Tensor, wanted: np.ndarray) -> None:
    tolerance = 1e-5 if wanted.dtype == np.float32 else 1e-3
    wanted = torch.from_numpy(wanted).float()
    assert (ours - wanted).abs().max() <= tolerance
    assert (ours.argmax(0) == wanted.argmax(0)).float().mean() >= 0.9999


def test_zero_weights_give_the_softmax_of_the_unary() -> None:
    image, unary = random_case()
    marginals = dense_crf(image, unary, (3, 0), (80, 13, 0), 5)
    assert torch.allclose(marginals, (-unary).softmax(0), atol=1e-6)
    assert torch.equal(dense_crf(image, unary, iterations=0), marginals)


def test_constant_image_and_unary_keep_the_winner() -> None:
    image = torch.full((3, 20, 31), 77, dtype=torch.uint8)
    unary = unary_from_scores(torch.tensor([0.2, 0.5, 0.3]))[:, None, None]
    marginals = dense_crf(image, unary.expand(3, 20, 31))
    assert (marginals.argmax(0) == 1).all()
    assert (marginals[1] > 0.5).all()


@pytest.mark.parametrize('labels', [3, 12])
def test_marginals_are_a_distribution_and_labels_may_be_permuted(labels: int) -> None:
    image, unary = random_case(labels=labels)
    unary = unary.double()
    marginals = dense_crf(image, unary)
    assert marginals.dtype == torch.float64
    assert torch.allclose(marginals.sum(0), marginals.new_ones(()))
    order = torch.randperm(labels)
    permuted = dense_crf(image, unary[order])
    assert torch.allclose(permuted, marginals[order], rtol=0, atol=1e-12)


def test_takes_any_number_of_channels() -> None:
    image, unary = random_case(20, 26)
    grey = image[:1]
    marginals = dense_crf(grey, unary, bilateral=(20, 60, 4))
    constant = torch.cat([grey, torch.zeros_like(grey)])
    padded = dense_crf(constant, unary, bilateral=(20, 60, 4))
    # A constant channel adds a lattice axis but no distance.
    assert (marginals - padded).abs().mean() < 1e-3


def test_pulls_labels_to_the_edges_of_the_image() -> None:
    image = torch.zeros(3, 24, 40, dtype=torch.uint8)
    image[:, :, 17:] = 200
    foreground = torch.full((24, 40), 0.3)
    foreground[:, 20:] = 0.8  # three columns short of the edge
    unary = unary_from_scores(torch.stack([1 - foreground, foreground]))
    winner = dense_crf(image, unary, (1, 1), (30, 10, 5)).argmax(0)
    assert torch.equal(winner, (image[0] > 0).long())


def test_float32_agrees_with_float64() -> None:
    image, unary = random_case(30, 41)
    single = dense_crf(image, unary, bilateral=(20, 40, 4), iterations=3)
    double = dense_crf(image, unary.double(), bilateral=(20, 40, 4), iterations=3)
    assert (single - double).abs().max() < 1e-3


def test_unary_of_labels() -> None:
    unary = unary_from_labels(torch.tensor([[0, 2]]), 3, confidence=0.7)
    assert torch.allclose(
        (-unary).exp(), torch.tensor([[[0.7, 0.15]], [[0.15, 0.15]], [[0.15, 0.7]]])
    )


def test_refiner_gives_the_functional_result() -> None:
    image, _ = random_case(labels=1)
    seed = PowerBackground(4)(image, Seed(torch.rand(2, 13, 18), torch.tensor([1, 5])))
    refined = DenseCRF(preset='acr', iterations=2)(image, seed)
    wanted = by_preset(image, unary_from_scores(seed.probabilities()), 'acr', 2)
    assert torch.equal(refined.probabilities(), wanted)
    assert torch.equal(refined.classes, seed.classes)


def test_reference_size_scales_the_widths_in_pixels() -> None:
    image, unary = random_case(24, 50, 2)
    seed = Seed((-unary[1:]).exp(), torch.tensor([0]), (-unary[0]).exp())
    scaled = DenseCRF(gaussian=(20, 3), reference_size=500)(image, seed)
    wanted = dense_crf(image, unary, (2, 3), (8, 13, 10))
    assert torch.allclose(scaled.probabilities(), wanted, atol=1e-5)


def test_refuses_what_it_cannot_do() -> None:
    image, unary = random_case()
    with pytest.raises(DataError, match=r'\(13, 17\).*\(13, 18\)'):
        dense_crf(image[:, :, :17], unary)
    with pytest.raises(DataError, match='background policy'):
        DenseCRF()(image, Seed(torch.rand(1, 13, 18), torch.tensor([0])))
    with pytest.raises(ConfigError, match="did you mean 'deeplab'"):
        DenseCRF(preset='deepleb')
    for wrong in (
        dict(gaussian=(0, 3)),
        dict(bilateral=(80, 10)),
        dict(iterations=-1),
        dict(clip=0),
        dict(reference_size=0),
    ):
        with pytest.raises(ConfigError, match='DenseCRF needs'):
            DenseCRF(**wrong)


def test_small_golden(golden) -> None:
    arrays = golden('crf_small')
    background = torch.from_numpy(arrays['two_probs'])
    scores = torch.cat([background, 1 - background])
    marginals = by_preset(
        to_image(arrays['two_image']), unary_from_scores(scores), 'psa'
    )
    wanted = arrays['two_psa_t10']
    assert_marginals(marginals, np.concatenate([wanted, 1 - wanted]))


@pytest.mark.parametrize('labels', [2, 3, 5])
def test_golden_marginals(golden, labels: int) -> None:
    arrays = golden(f'crf_{labels}labels')
    image = to_image(arrays['image'])
    unary = unary_from_scores(torch.from_numpy(arrays['probs']))
    compared = 0
    for key, wanted in arrays.items():
        name, _, steps = key.rpartition('_t')
        if name in SETTINGS:
            ours = by_preset(image, unary, SETTINGS[name], int(steps))
            assert_marginals(ours, wanted)
            compared += 1
    assert compared >= 4


@pytest.mark.parametrize('labels', [2, 3, 5])
def test_golden_labels_of_irn(golden, labels: int) -> None:
    arrays = golden(f'crf_{labels}labels')
    given = torch.from_numpy(arrays['irn_label_in'])
    unary = unary_from_labels(given, labels, PRESETS['irn'].confidence)
    ours = by_preset(to_image(arrays['image']), unary, 'irn').argmax(0)
    assert (ours.numpy() == arrays['irn_label_out']).mean() >= 0.9999

    scores = torch.nn.functional.one_hot(given.long(), labels).permute(2, 0, 1).float()
    seed = Seed(scores[1:], torch.arange(labels - 1), scores[0])
    refined = DenseCRF(preset='irn')(to_image(arrays['image']), seed)
    assert torch.equal(refined.to_label().long(), ours)


@pytest.mark.parametrize('name', ['psa', 'acrinf', 'deeplab'])
def test_golden_full_size(golden, name: str) -> None:
    arrays = golden('crf_fullsize')
    scores = torch.from_numpy(arrays['probs_u8']).float() / 255
    unary = unary_from_scores(scores / scores.sum(0))
    ours = by_preset(to_image(arrays['image']), unary, SETTINGS[name])
    winners = ours.argmax(0).numpy() == arrays[f'{name}_t10_argmax']
    assert winners.mean() >= 0.9999
    assert_marginals(ours[:, ::4, ::4], arrays[f'{name}_t10_every4'])


@pytest.mark.parametrize('prefix', ['one', 'two'])
def test_golden_power_background_and_crf(golden, prefix: str) -> None:
    arrays = golden('psa_alpha_crf')
    image = to_image(arrays[f'{prefix}_image'])
    seed = Seed(
        torch.from_numpy(arrays[f'{prefix}_cams']),
        torch.from_numpy(arrays[f'{prefix}_keys']),
    )
    compared = 0
    for key, wanted in arrays.items():
        if key.startswith(f'{prefix}_crf_alpha'):
            alpha = float(key.removeprefix(f'{prefix}_crf_alpha'))
            policy = PowerBackground(alpha, normalise=False)
            refined = DenseCRF()(image, policy(image, seed))
            assert_marginals(refined.probabilities(), wanted)
            compared += 1
    assert compared >= 2
