"""Every array that pydensecrf left: filters, marginals, and the labels of IRN.

Filters and marginals must agree to 1e-4, plus half the spacing of float16 where they
were stored in it, and 99.99 % of the winning labels. A file's test fails for an array
that it does not know.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from wsss_plugins.refiners import (
    PRESETS,
    DenseCRF,
    PermutohedralLattice,
    PowerBackground,
)
from wsss_plugins.refiners.dense_crf import (
    dense_crf,
    unary_from_labels,
    unary_from_scores,
)
from wsss_plugins.refiners.mean_field import appearance_features, position_features
from wsss_plugins.structures import Seed

Arrays = dict[str, np.ndarray]
SETTINGS = dict(psa='psa', acrinf='acr', mctinf='mctformer', deeplab='deeplab')
INPUTS = {'image', 'probs', 'probs2', 'probs_u8', 'Q0', 'irn_label_in'}
MARGINALS = re.compile(f'({"|".join(SETTINGS)})_t([0-9]+)')
FILTERED = re.compile(
    '(gauss|bil)([0-9]+)_?([0-9]*)_(sym|none|before|after)(_2labels)?'
)


def to_image(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)


def by_preset(image: Tensor, unary: Tensor, preset: str, steps: int) -> Tensor:
    settings = PRESETS[preset]
    return dense_crf(image, unary, settings.gaussian, settings.bilateral, steps)


def assert_close(ours: Tensor, wanted: np.ndarray, tolerance: float = 1e-4) -> None:
    stored = wanted.dtype == np.float16
    allowed = tolerance + (np.spacing(np.abs(wanted)) / 2 if stored else 0)
    error = np.abs(ours.double().numpy() - wanted.astype(np.float64))
    assert (error <= allowed).all(), f'off by {error.max():.1e}'


def assert_same_labels(ours: Tensor, wanted: np.ndarray) -> None:
    assert (ours.numpy() == wanted).mean() >= 0.9999


def assert_marginals(ours: Tensor, wanted: np.ndarray) -> None:
    assert_close(ours, wanted)
    assert_same_labels(ours.argmax(0), wanted.argmax(0))


def filtered(arrays: Arrays, key: str) -> Tensor:
    """What the golden ``key`` holds, by this package's lattice."""
    name, *widths, mode, two = FILTERED.fullmatch(key).groups()
    image = to_image(arrays['image'])[None].float()
    if name == 'gauss':
        features = position_features(image, float(widths[0]))
    else:
        features = appearance_features(image, float(widths[0]), float(widths[1]))
    lattice = PermutohedralLattice(features)
    start = torch.from_numpy(arrays['Q0'])
    if two:
        start = (-unary_from_scores(torch.from_numpy(arrays['probs2']))).softmax(0)
    values, norm = start.flatten(1).T, 1 / (lattice.mass + 1e-20)
    found = {
        'sym': lambda: lattice.filter_symmetric(values),
        'none': lambda: lattice.filter(values),
        'before': lambda: lattice.filter(values * norm),
        'after': lambda: lattice.filter(values) * norm,
    }[mode]()
    return found.T.reshape(start.shape)


def test_small(golden) -> None:
    arrays = golden('crf_small')
    part = {k.removeprefix('filter_'): v for k, v in arrays.items() if k[0] == 'f'}
    for key in part.keys() - INPUTS:
        assert_close(filtered(part, key), part[key])
    background = torch.from_numpy(arrays['two_probs'])
    unary = unary_from_scores(torch.cat([background, 1 - background]))
    ours = by_preset(to_image(arrays['two_image']), unary, 'psa', 10)
    wanted = arrays['two_psa_t10']
    assert_marginals(ours, np.concatenate([wanted, 1 - wanted]))


def test_filters(golden) -> None:
    arrays = golden('crf_filter')
    keys = arrays.keys() - INPUTS - {k for k in arrays if k.startswith('psa_step1')}
    assert len(keys) == 13
    for key in keys:
        # Values of a filter without normalisation go up to 280.
        assert_close(
            filtered(arrays, key), arrays[key], 1e-4 if 'none' in key else 1e-5
        )


def test_first_step(golden) -> None:
    arrays = golden('crf_filter')
    message = 10 * filtered(arrays, 'bil80_13_sym')
    assert_close(-message, arrays['psa_step1_bilateral_apply'])
    unary = unary_from_scores(torch.from_numpy(arrays['probs']))
    energy = message + 3 * filtered(arrays, 'gauss3_sym') - unary
    assert_close(energy, arrays['psa_step1_tmp1'])
    ours = by_preset(to_image(arrays['image']), unary, 'psa', 1)
    assert_marginals(ours, arrays['psa_step1_Q'])
    assert_close((-unary).softmax(0), arrays['Q0'], 1e-6)


@pytest.mark.parametrize('labels', [2, 3, 5])
def test_marginals_and_labels(golden, labels: int) -> None:
    arrays = golden(f'crf_{labels}labels')
    image = to_image(arrays['image'])
    unary = unary_from_scores(torch.from_numpy(arrays['probs']))
    certain = unary_from_labels(
        torch.from_numpy(arrays['irn_label_in']), labels, PRESETS['irn'].confidence
    )
    for key in arrays.keys() - INPUTS:
        if known := MARGINALS.fullmatch(key):
            ours = by_preset(image, unary, SETTINGS[known[1]], int(known[2]))
            assert_marginals(ours, arrays[key])
        else:
            steps = {'irn_label_out': 10, 'irn_label_out_t1': 1}[key]
            ours = by_preset(image, certain, 'irn', steps)
            assert_same_labels(ours.argmax(0), arrays[key])


@pytest.mark.parametrize('labels', [2, 3, 5])
def test_refiner_makes_labels_as_irn(golden, labels: int) -> None:
    arrays = golden(f'crf_{labels}labels')
    given = torch.from_numpy(arrays['irn_label_in']).long()
    scores = torch.nn.functional.one_hot(given, labels).permute(2, 0, 1).float()
    seed = Seed(scores[1:], torch.arange(labels - 1), scores[0])
    refined = DenseCRF(preset='irn')(to_image(arrays['image']), seed)
    assert_same_labels(refined.to_label(), arrays['irn_label_out'])


def test_full_size(golden) -> None:
    arrays = golden('crf_fullsize')
    image = to_image(arrays['image'])
    scores = torch.from_numpy(arrays['probs_u8']).float() / 255
    unary = unary_from_scores(scores / scores.sum(0))
    for name in [k.removesuffix('_argmax') for k in arrays if k.endswith('argmax')]:
        preset, steps = MARGINALS.fullmatch(name).groups()
        ours = by_preset(image, unary, SETTINGS[preset], int(steps))
        assert_same_labels(ours.argmax(0), arrays.pop(f'{name}_argmax'))
        assert_close(ours[:, ::4, ::4], arrays.pop(f'{name}_every4'))
    certain = unary_from_labels(torch.from_numpy(arrays['irn_label_in']), 3)
    ours = by_preset(image, certain, 'irn', 10).argmax(0)
    assert_same_labels(ours, arrays.pop('irn_label_out'))
    assert arrays.keys() <= INPUTS


@pytest.mark.parametrize('prefix', ['one', 'two'])
def test_power_background_and_crf(golden, prefix: str) -> None:
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
    assert compared == {'one': 6, 'two': 2}[prefix]
