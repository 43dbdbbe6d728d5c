"""The dense CRF: its laws, batches, compatibility, and the other backend."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners import (
    PRESETS,
    DenseCRF,
    PermutohedralLattice,
    PowerBackground,
    RefinerChain,
    mean_field,
)
from wsss_plugins.refiners.dense_crf import (
    BACKENDS,
    dense_crf,
    unary_from_labels,
    unary_from_scores,
)
from wsss_plugins.structures import Seed


def by_preset(image: Tensor, unary: Tensor, preset: str, steps: int = 10) -> Tensor:
    settings = PRESETS[preset]
    return dense_crf(image, unary, settings.gaussian, settings.bilateral, steps)


def random_case(height: int = 13, width: int = 18, labels: int = 4):
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return image, unary_from_scores(torch.rand(labels, height, width))


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


def test_winners_stay_without_contrast_or_without_edges() -> None:
    image, _ = random_case(20, 31)
    scores = torch.full((3, 20, 31), 0.2)
    scores[0, :, :12] = scores[1, :, 12:21] = scores[2, :, 21:] = 0.6
    unary = unary_from_scores(scores)
    winner = scores.argmax(0)
    without = dense_crf(image, unary, (3, 0), (80, 13, 0)).argmax(0)
    assert torch.equal(without, winner)
    # A constant image leaves position only; a narrow kernel keeps straight edges.
    flat = torch.full_like(image, 77)
    assert torch.equal(dense_crf(flat, unary, (1, 3), (1, 13, 3)).argmax(0), winner)


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


def slow_message(image: Tensor, marginals: Tensor, widths: tuple[float, ...]) -> Tensor:
    """What a kernel sends, ``(L, H, W)``; features written pixel by pixel."""
    channels, height, width = image.shape
    rows = [
        [x / widths[0], y / widths[0]]
        + [float(image[c, y, x]) / widths[1] for c in range(channels)]
        for y in range(height)
        for x in range(width)
    ]
    lattice = PermutohedralLattice(torch.tensor(rows, dtype=torch.float64))
    sent = lattice.filter_symmetric(marginals.flatten(1).T)
    return sent.T.reshape(marginals.shape)


def test_matrix_compatibility_enters_with_its_sign_and_symmetric_part() -> None:
    image, unary = random_case(9, 14, 3)
    unary = unary.double()
    mu = torch.tensor([[0, 1.4, 0.2], [0.6, 0.1, 2], [0.2, 1, -0.3]]).double()
    ours = dense_crf(image, unary, (1, 0), (5, 40, 2), 1, mu)
    message = slow_message(image, (-unary).softmax(0), (5, 40))
    penalty = torch.einsum('lm,mhw->lhw', (mu + mu.T) / 2, message)
    assert torch.allclose(ours, (-unary - 2 * penalty).softmax(0), atol=1e-9)
    assert (ours - dense_crf(image, unary, (1, 0), (5, 40, 2), 1)).abs().max() > 0.1


def test_a_penalty_for_different_labels_is_potts() -> None:
    image, unary = random_case(15, 22)
    unary = unary.double()
    potts = dense_crf(image, unary, iterations=3)
    ours = dense_crf(image, unary, iterations=3, compatibility=1 - torch.eye(4))
    assert torch.allclose(ours, potts, rtol=0, atol=1e-9)
    ours = dense_crf(image, unary, iterations=3, compatibility=-torch.eye(4))
    assert torch.allclose(ours, potts, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    'mu', [None, torch.tensor([[0, 2.0, 1], [2, 0, 0], [1, 0, 0]])]
)
def test_batches_are_inferred_as_their_images(monkeypatch, mu: Tensor | None) -> None:
    images = torch.randint(0, 256, (4, 3, 13, 18), dtype=torch.uint8)
    unary = unary_from_scores(torch.rand(4, 3, 13, 18).double())
    settings = (2, 3), (10, 40, 4), 4, mu
    alone = [dense_crf(*pair, *settings) for pair in zip(images, unary, strict=True)]
    assert torch.equal(dense_crf(images, unary, *settings), torch.stack(alone))
    # As on a GPU: all in one lattice; here some pixels at a time.
    monkeypatch.setattr(mean_field, 'VALUES_AT_ONCE', 500)
    kernels = mean_field.kernels_of(images.double(), *settings[:2])
    mixed = None if mu is None else mu.double()
    together = mean_field.infer(kernels, -unary, settings[2], mixed)
    assert torch.allclose(together, torch.stack(alone), rtol=0, atol=1e-12)


def test_kernels_built_ahead_are_those_of_their_image() -> None:
    """With several threads the next image's kernels are built meanwhile."""
    images = torch.randint(0, 256, (4, 3, 13, 18), dtype=torch.uint8)
    unary = unary_from_scores(torch.rand(4, 3, 13, 18).double())
    expected = dense_crf(images, unary, iterations=2)
    torch.set_num_threads(2)
    try:
        found = dense_crf(images, unary, iterations=2)
    finally:
        torch.set_num_threads(1)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('matrix', [False, True])
def test_refiner_batches_seeds_with_different_classes(matrix: bool) -> None:
    images = list(torch.randint(0, 256, (5, 3, 12, 17), dtype=torch.uint8))
    classes = [[1], [0, 2], [2], [], [0, 3]]
    seeds = [
        Seed(torch.rand(len(c), 12, 17), torch.tensor(c).long(), torch.rand(12, 17))
        for c in classes
    ]
    mu = torch.rand(5, 5).tolist() if matrix else None
    crf = DenseCRF(gaussian=(2, 3), iterations=3, compatibility=mu)
    batch = RefinerChain([crf]).refine_batch(images, seeds)
    for refined, seed, image in zip(batch, seeds, images, strict=True):
        assert torch.equal(refined.classes, seed.classes)
        alone = crf(image, seed)
        assert torch.equal(refined.probabilities(), alone.probabilities())


@pytest.mark.parametrize('backend', ['torch', 'pydensecrf'])
def test_one_image_serves_several_energies(backend: str) -> None:
    if backend == 'pydensecrf':
        pytest.importorskip('pydensecrf')
    image = random_case()[0]
    unary = torch.stack([random_case()[1] for _ in range(3)])
    unary = unary.double() if backend == 'torch' else unary
    together = dense_crf(image[None], unary, backend=backend)
    alone = torch.stack([dense_crf(image, each, backend=backend) for each in unary])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_seeds_of_one_image_share_its_kernels(monkeypatch) -> None:
    """Two seeds of each of two images, of one class and of two."""
    images = [random_case()[0] for _ in range(2)]
    seeds = [
        Seed(torch.rand(k, 13, 18), torch.arange(k), torch.rand(13, 18))
        for k in (2, 2, 2, 1)
    ]
    crf = DenseCRF(iterations=3)
    wanted = [
        crf(image, seed) for image, seed in zip([*images, *images], seeds, strict=True)
    ]
    built = []
    build = PermutohedralLattice.__init__

    def count(self: PermutohedralLattice, features: Tensor, *rest, **named) -> None:
        if features.shape[1] == 5:
            built.append(len(features))
        build(self, features, *rest, **named)

    monkeypatch.setattr(PermutohedralLattice, '__init__', count)
    found = crf.refine_batch([*images, *images], seeds)
    assert built == [13 * 18] * 3, 'the last seed has another number of labels'
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.probabilities(), other.probabilities())


def test_refiner_takes_the_compatibility_of_the_classes_present() -> None:
    image, unary = random_case(labels=3)
    mu = torch.rand(6, 6)
    seed = Seed((-unary[1:]).exp(), torch.tensor([1, 4]), (-unary[0]).exp())
    refined = DenseCRF(compatibility=mu.tolist(), iterations=2)(image, seed)
    rows = torch.tensor([0, 2, 5])
    part = mu[rows][:, rows]
    wanted = dense_crf(image, unary, iterations=2, compatibility=part)
    assert torch.allclose(refined.probabilities(), wanted, atol=1e-5)
    with pytest.raises(ConfigError, match='class 4 has no row'):
        DenseCRF(compatibility=mu[:5, :5].tolist())(image, seed)


def test_agrees_with_pydensecrf_where_it_is_installed() -> None:
    pytest.importorskip('pydensecrf')
    images = torch.randint(0, 256, (2, 3, 15, 22), dtype=torch.uint8)
    unary = unary_from_scores(torch.rand(2, 4, 15, 22))
    for mu in (None, torch.rand(4, 4)):
        ours = dense_crf(images, unary, (2, 3), (20, 40, 4), 5, mu)
        theirs = dense_crf(images, unary, (2, 3), (20, 40, 4), 5, mu, 'pydensecrf')
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)


def test_says_how_to_get_pydensecrf(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'pydensecrf.densecrf', None)
    image, unary = random_case()
    with pytest.raises(ConfigError, match=r"pip install pydensecrf2.*backend='torch'"):
        dense_crf(image, unary, backend='pydensecrf')


def test_spatial_lattices_of_large_images_are_not_kept(monkeypatch) -> None:
    kept = mean_field.kept_spatial_lattice
    kept.cache_clear()
    image, unary = random_case(10, 14)
    dense_crf(image, unary, iterations=1)
    dense_crf(image, unary, iterations=1)
    assert (kept.cache_info().hits, kept.cache_info().currsize) == (1, 1)
    monkeypatch.setattr(mean_field, 'KEPT_PIXELS', 100)
    dense_crf(*random_case(10, 15), iterations=1)
    assert kept.cache_info().currsize == 1


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
    with pytest.raises(DataError, match=r'13, 17.*13, 18'):
        dense_crf(image[:, :, :17], unary)
    with pytest.raises(DataError, match='both without B'):
        dense_crf(image, unary[None])
    with pytest.raises(DataError, match='NaN'):
        dense_crf(image, unary * torch.nan)
    with pytest.raises(ConfigError, match=r'4 labels must be finite and \(4, 4\)'):
        dense_crf(image, unary, compatibility=torch.eye(3))
    with pytest.raises(ConfigError, match="did you mean 'pydensecrf'"):
        dense_crf(image, unary, backend='pydensecfr')
    with pytest.raises(DataError, match='background policy'):
        DenseCRF()(image, Seed(torch.rand(1, 13, 18), torch.tensor([0])))


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(preset='deepleb'), "did you mean 'deeplab'"),
        (dict(backend='numpy'), "unknown backend 'numpy'.*Allowed: pydensecrf, torch"),
        (dict(compatibility=[[0, 1], [1]]), r'square.*2 rows of \[1, 2\] numbers'),
        (dict(gaussian=(0, 3)), 'DenseCRF needs'),
        (dict(bilateral=(80, 10)), 'DenseCRF needs'),
        (dict(iterations=-1), 'DenseCRF needs'),
        (dict(clip=0), 'DenseCRF needs'),
        (dict(reference_size=0), 'DenseCRF needs'),
    ],
)
def test_refuses_settings(wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        DenseCRF(**wrong)
    assert '\n' not in str(caught.value)


def test_a_config_of_before_may_say_auto() -> None:
    """'auto' was a second name of 'torch'."""
    image = torch.randint(0, 256, (3, 13, 18), dtype=torch.uint8)
    seed = Seed(torch.rand(1, 13, 18), torch.tensor([0]), torch.rand(13, 18))
    now, before = (
        DenseCRF(backend=name).refine(image, seed) for name in ('torch', 'auto')
    )
    assert torch.equal(now.scores, before.scores)
    assert 'auto' not in BACKENDS
