"""Pixel-adaptive refinement against loops over pixels, and its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners import PAMR, PAR
from wsss_plugins.refiners import pamr as module
from wsss_plugins.structures import Seed

DILATIONS = (1, 3)


def neighbours_of(y: int, x: int, height: int, width: int) -> list:
    """``(y, x, distance)`` of the eight neighbours per dilation, clamped to the image."""
    found = []
    for d in DILATIONS:
        for dy in (-d, 0, d):
            for dx in (-d, 0, d):
                if dy or dx:
                    place = (
                        min(max(y + dy, 0), height - 1),
                        min(max(x + dx, 0), width - 1),
                    )
                    found.append((*place, math.hypot(dy, dx)))
    return found


def softmax(values: list[float]) -> np.ndarray:
    powers = np.exp(np.array(values) - max(values))
    return powers / powers.sum()


def pamr_weights(image: np.ndarray, y: int, x: int) -> np.ndarray:
    """The definition of PAMR: sigma over the windows, centres counted."""
    places = neighbours_of(y, x, *image.shape[1:])
    energies = []
    for ny, nx, _ in places:
        energy = 0.0
        for channel in image:
            seen = [channel[p[:2]] for p in places] + [channel[y, x]] * len(DILATIONS)
            sigma = np.std(seen, ddof=1)
            energy -= abs(channel[y, x] - channel[ny, nx]) / (0.1 * sigma)
        energies.append(energy / len(image))
    return softmax(energies)


def par_weights(image: np.ndarray, y: int, x: int) -> np.ndarray:
    """The definition of PAR, divided by the sum of its two weights."""
    places = neighbours_of(y, x, *image.shape[1:])
    spread = np.std([distance for *_, distance in places], ddof=1)
    colour, position = [], []
    for ny, nx, distance in places:
        energy = 0.0
        for channel in image:
            sigma = np.std([channel[p[:2]] for p in places], ddof=1)
            energy -= ((channel[y, x] - channel[ny, nx]) / (0.3 * sigma)) ** 2
        colour.append(energy / len(image))
        position.append(-((distance / (0.3 * spread)) ** 2))
    return (softmax(colour) + 0.01 * softmax(position)) / 1.01


def by_loops(
    image: np.ndarray, maps: np.ndarray, weights, iterations: int
) -> np.ndarray:
    size = image.shape[1:]
    for _ in range(iterations):
        averaged = np.zeros_like(maps)
        for y, x in np.ndindex(size):
            places = neighbours_of(y, x, *size)
            for weight, (ny, nx, _) in zip(weights(image, y, x), places, strict=True):
                averaged[:, y, x] += weight * maps[:, ny, nx]
        maps = averaged
    return maps


def random_image(*size: int) -> Tensor:
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8)


def random_seed(classes: int, *size: int) -> Seed:
    scores = torch.rand(classes, *size, dtype=torch.float64)
    background = torch.rand(size, dtype=torch.float64)
    return Seed(scores, torch.arange(classes), background)


@pytest.mark.parametrize(
    ('refiner', 'weights'), [(PAMR, pamr_weights), (PAR, par_weights)]
)
def test_equals_loops_over_pixels(refiner, weights) -> None:
    image, seed = random_image(5, 7), random_seed(2, 5, 7)
    refined = refiner(iterations=2, dilations=DILATIONS)(image, seed)
    expected = by_loops(
        image.double().numpy(), seed.probabilities().numpy(), weights, 2
    )
    np.testing.assert_allclose(refined.probabilities(), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize('refiner', [PAMR(), PAR()])
def test_weights_of_a_pixel_sum_to_one(refiner) -> None:
    images = torch.stack([random_image(9, 14), torch.full((3, 9, 14), 7)]).double()
    kernel = refiner.kernel(images)
    assert kernel.shape == (2, 1 + 48, 9, 14) and (kernel >= 0).all()
    torch.testing.assert_close(kernel.sum(1), torch.ones_like(kernel[:, 0]))
    assert (kernel[0, 0] == 0).all() and (kernel[1, 0] == 1).all()


@pytest.mark.parametrize('refiner', [PAMR(), PAR()])
@pytest.mark.parametrize('grey', [0, 3, 255])
def test_an_image_of_one_colour_changes_nothing(refiner, grey: int) -> None:
    image = torch.full((3, 12, 31), grey, dtype=torch.uint8)
    seed = random_seed(3, 12, 31)
    refined = refiner(image, seed)
    assert torch.equal(refined.probabilities(), seed.probabilities())
    assert torch.equal(refined.to_label(), seed.to_label())


@pytest.mark.parametrize('refiner', [PAMR(), PAR()])
def test_constant_scores_stay_and_none_leaves_the_range(refiner) -> None:
    image, seed = random_image(20, 33), random_seed(2, 20, 33)
    flat = Seed(torch.full_like(seed.scores, 0.3), seed.classes, seed.background)
    refined = refiner(image, flat)
    torch.testing.assert_close(refined.scores, flat.scores)
    spread = refined.background
    assert seed.background.amin() < spread.amin()
    assert spread.amax() < seed.background.amax()


@pytest.mark.parametrize('refiner', [PAMR(), PAR()])
def test_brightness_and_contrast_do_not_matter(refiner) -> None:
    image = random_image(11, 16).double()[None]
    torch.testing.assert_close(refiner.kernel(image), refiner.kernel(image / 4 + 80))


def test_labels_move_to_the_edges_of_the_image() -> None:
    image = torch.zeros(3, 20, 30, dtype=torch.uint8)
    image[:, :, 15:] = 200
    score = torch.full((1, 20, 30), 0.2)
    score[:, :, 12:] = 0.8  # three columns too wide
    seed = Seed(score, torch.tensor([4]), torch.full((20, 30), 0.5))
    for refiner in (PAMR(), PAR()):
        label = refiner(image, seed).to_label()
        assert (label[:, :15] == 0).all() and (label[:, 15:] == 5).all()


@pytest.mark.parametrize('at_once', [1, 500, 10**6])
def test_batch_equals_one_by_one(monkeypatch, at_once: int) -> None:
    monkeypatch.setattr(module, 'PIXELS_AT_ONCE', at_once)
    images = [random_image(8, 13) for _ in range(5)]
    seeds = [random_seed(classes, 8, 13) for classes in (2, 0, 3, 1, 1)]
    for refiner in (PAMR(iterations=3), PAR(iterations=3)):
        together = refiner.refine_batch(images, seeds)
        for image, seed, found in zip(images, seeds, together, strict=True):
            alone = refiner(image, seed)
            assert torch.equal(found.classes, seed.classes)
            assert torch.equal(found.probabilities(), alone.probabilities())


def test_no_iteration_changes_nothing() -> None:
    image, seed = random_image(6, 9), random_seed(2, 6, 9)
    refined = PAMR(iterations=0)(image, seed)
    assert torch.equal(refined.probabilities(), seed.probabilities())


def test_needs_a_background() -> None:
    seed = Seed(torch.rand(1, 4, 6), torch.tensor([0]))
    with pytest.raises(DataError, match='background policy first'):
        PAMR()(random_image(4, 6), seed)


@pytest.mark.parametrize(
    'make',
    [
        lambda: PAMR(iterations=-1),
        lambda: PAMR(dilations=()),
        lambda: PAMR(dilations=(1, 0)),
        lambda: PAR(width=0),
        lambda: PAR(position_width=0),
        lambda: PAR(position_weight=-0.1),
    ],
)
def test_numbers_out_of_range_are_refused(make) -> None:
    with pytest.raises(ConfigError, match='needs'):
        make()


def test_released_par_grows_and_does_not_stop_at_flat_pixels() -> None:
    """Its weights sum to 1.01, also where all neighbours have one colour."""
    images = torch.zeros(1, 3, 12, 14)
    images[..., 7:] = 200.0
    ours, released = PAR(2), PAR(2, as_released=True)
    torch.testing.assert_close(ours.kernel(images).sum(1), torch.ones(1, 12, 14))
    kernel = released.kernel(images)
    torch.testing.assert_close(kernel.sum(1), torch.full((1, 12, 14), 1.01))
    assert not kernel[:, 0].any(), 'the pixel itself has no weight'
    ones = released.average(torch.ones(1, 1, 12, 14), kernel)
    torch.testing.assert_close(ones, torch.full_like(ones, 1.01**2))
