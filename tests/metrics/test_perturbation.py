"""Perturbation, insertion and deletion against loops over images, levels and pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import (
    InsertionDeletion,
    Perturbation,
    area_under_curve,
    insertion_deletion_probabilities,
    masked_logits,
    perturbed_logits,
    pixel_ranks,
)
from wsss_plugins.metrics.masking import pixel_counts

MEAN = torch.tensor([0.5, 0.4, 0.3]).double().view(3, 1, 1)


def normalise(images):
    return (images - MEAN) / 0.25


@pytest.fixture
def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=2),
        torch.nn.Tanh(),
        torch.nn.Flatten(),
        torch.nn.Linear(6 * 3 * 5, 4),
    ).double()


@pytest.fixture
def scene():
    """Images (5, 3, 7, 11) in [0, 1], maps without ties, classes."""
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 7, 11, generator=rng).double()
    maps = torch.randn(5, 7, 11, generator=rng).double()
    return images, maps, torch.tensor([0, 1, 2, 3, 0])


def without_pixels(image, relevance, count, largest):
    """The image with the first ``count`` pixels of the sorted map set to 0."""
    values = relevance.flatten().tolist()
    order = sorted(range(len(values)), key=values.__getitem__, reverse=largest)
    image = image.clone()
    for place in order[:count]:
        image[:, place // relevance.shape[1], place % relevance.shape[1]] = 0
    return image


def test_logits_equal_one_forward_pass_per_level(network, scene):
    images, maps, _ = scene
    found = perturbed_logits(network, images, maps, normalise=normalise, batch_size=7)
    assert found.shape == (5, 2, 10, 4) and not found.requires_grad
    for i, (image, relevance) in enumerate(zip(images, maps, strict=True)):
        for sign, largest in enumerate((True, False)):
            for k in range(10):
                masked = without_pixels(image, relevance, int(77 * k / 10), largest)
                expected = network(normalise(masked[None]))[0]
                torch.testing.assert_close(
                    found[i, sign, k], expected, rtol=0, atol=1e-12
                )


@pytest.mark.parametrize('batch_size', [1, 13, 32, 1000])
def test_chunk_size_does_not_matter(network, scene, batch_size):
    images, maps, classes = scene
    args = dict(normalise=normalise, batch_size=batch_size)
    whole = perturbed_logits(network, images, maps, normalise=normalise, batch_size=19)
    found = perturbed_logits(network, images, maps, **args)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
    one_by_one = [
        perturbed_logits(network, images[i : i + 1], maps[i : i + 1], **args)
        for i in range(5)
    ]
    torch.testing.assert_close(torch.cat(one_by_one), whole, rtol=0, atol=1e-12)
    both = dict(steps=7, normalise=normalise)
    curves = insertion_deletion_probabilities(
        network, images, maps, classes, batch_size=batch_size, **both
    )
    expected = insertion_deletion_probabilities(network, images, maps, classes, **both)
    torch.testing.assert_close(curves, expected, rtol=0, atol=1e-12)


def test_chunks_are_full_and_levels_share_them(network, scene):
    images, maps, _ = scene
    sizes = []

    def counting(batch):
        sizes.append(len(batch))
        return network(batch)

    perturbed_logits(counting, images, maps, normalise=normalise, batch_size=30)
    assert sizes == [30, 30, 30, 5]  # 5 images x (1 clean + 9 positive + 9 negative)


def test_equal_values_keep_the_reading_order():
    maps = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]])
    assert pixel_ranks(maps).tolist() == [[[1, 3, 2], [4, 0, 5]]]
    assert pixel_ranks(torch.zeros(2, 2, 3)).flatten(1).tolist() == [[*range(6)]] * 2


def test_pixel_counts_round_down():
    assert pixel_counts(1024, 10)[:4] == [0, 102, 204, 307]
    assert pixel_counts(224 * 224, 10)[-2:] == [45158, 50176]
    with pytest.raises(ConfigError, match='at least 2, not 1'):
        pixel_counts(9, 1)


def measures(logits, clean, target):
    """The original's four numbers of one masked image, through the softmax."""
    p, p_clean = (np.exp(x) / np.exp(x).sum() for x in (logits, clean))
    return dict(
        hits=logits.argmax() == target,
        dissimilarity=np.log(p[target] / np.sort(p)[-2]),
        logit_difference=logits.max() - clean.max(),
        probability_difference=p.max() - p_clean.max(),
    )


def random_logits(count=6, steps=4):
    rng = torch.Generator().manual_seed(3)
    logits = torch.randn(count, 2, steps, 5, generator=rng).double()
    logits[:, 1, 0] = logits[:, 0, 0]
    return logits, torch.randint(5, (count,), generator=rng)


def evaluated(logits, targets):
    metric = Perturbation(logits.shape[2])
    metric.update(logits, targets)
    return metric


def test_measures_equal_their_definitions():
    logits, targets = random_logits()
    rows = evaluated(logits, targets).state()
    for index in np.ndindex(*logits.shape[:3]):
        image, sign, _ = index
        clean = logits[image, sign, 0].numpy()
        for key, value in measures(
            logits[index].numpy(), clean, targets[image]
        ).items():
            assert rows[key][index] == pytest.approx(float(value), abs=1e-12)


def test_totals():
    logits, targets = random_logits()
    metric = evaluated(logits, targets)
    scores, rows = metric.compute(), metric.state()
    np.testing.assert_allclose(scores.accuracy, 100 * rows['hits'].mean(0))
    np.testing.assert_allclose(scores.dissimilarity, rows['dissimilarity'].mean(0))
    assert scores.levels.tolist() == [0, 0.25, 0.5, 0.75]
    for sign in (0, 1):
        a = scores.accuracy[sign]
        trapezoid = 0.25 * (a[0] / 2 + a[1] + a[2] + a[3] / 2)
        assert scores.auc[sign] == pytest.approx(trapezoid)
    content = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert content['images'] == 6
    assert content['negative']['auc'] == pytest.approx(scores.auc[1])
    assert content['positive']['accuracy'] == scores.accuracy[0].tolist()


def test_perfect_accuracy_has_an_area_of_90_percent():
    logits = torch.zeros(1, 2, 10, 3)
    logits[..., 2] = 1
    np.testing.assert_allclose(evaluated(logits, torch.tensor([2])).compute().auc, 90)


def test_extreme_logits_have_a_finite_dissimilarity():
    logits = torch.tensor([0.0, 5e3, 9e3]).expand(1, 2, 10, 3)
    rows = evaluated(logits, torch.tensor([0])).state()
    assert (rows['dissimilarity'] == -5e3).all()


def test_workers_equal_one_in_any_order():
    logits, targets = random_logits(9)
    whole = evaluated(logits, targets)
    first, second = (evaluated(logits[i::2], targets[i::2]) for i in (1, 0))
    first.merge(second)
    assert first.compute().to_dict() == whole.compute().to_dict()
    resumed = Perturbation(4)
    text = json.dumps({k: v.tolist() for k, v in whole.state().items()})
    resumed.load(json.loads(text))
    assert resumed.compute().to_dict() == whole.compute().to_dict()


def test_a_true_map_beats_its_opposite():
    """A network that reads one corner only: removing it first must hurt most."""

    def corner(images):
        red = images[:, 0, :3, :4].mean((1, 2))
        return torch.stack([4 * red, 1 - red, torch.zeros_like(red)], 1)

    images = torch.full((2, 3, 7, 11), 0.9, dtype=torch.float64)
    maps = torch.zeros(2, 7, 11)
    maps[:, :3, :4] = 1
    metric = Perturbation()
    logits = perturbed_logits(corner, images, maps, normalise=lambda x: x)
    metric.update(logits, torch.tensor([0, 0]))
    positive, negative = metric.compute().auc
    assert positive < 20 and negative == pytest.approx(90)
    curves = InsertionDeletion(20)
    curves.update(
        insertion_deletion_probabilities(
            corner,
            images,
            maps,
            torch.tensor([0, 0]),
            normalise=lambda x: x,
            steps=20,
            fill=0.0,
        )
    )
    scores = curves.compute()
    assert scores.deletion_auc < 0.4 < 0.9 < scores.insertion_auc


# --- insertion and deletion ---------------------------------------------------------


def test_curves_equal_one_forward_pass_per_step(network, scene):
    images, maps, classes = scene
    fill = torch.tensor([0.2, 0.5, 0.7]).double()
    found = insertion_deletion_probabilities(
        network,
        images,
        maps,
        classes,
        normalise=normalise,
        steps=6,
        fill=fill.tolist(),
        blur=(5, 2.0),
        batch_size=9,
    )
    assert found.shape == (5, 2, 7)
    for i in range(5):
        blurred = gaussian_blur(images[i], 5, 2.0)
        for k in range(7):
            kept = without_pixels(torch.ones(1, 7, 11), maps[i], int(77 * k / 6), True)
            for row, masked in enumerate(
                (
                    blurred * kept + images[i] * (1 - kept),
                    images[i] * kept + fill.view(3, 1, 1) * (1 - kept),
                )
            ):
                logits = network(normalise(masked[None]))[0]
                expected = logits.softmax(0)[classes[i]]
                torch.testing.assert_close(
                    found[i, row, k], expected, rtol=0, atol=1e-12
                )


def test_curves_begin_and_end_with_the_image(network, scene):
    images, maps, classes = scene
    found = insertion_deletion_probabilities(
        network, images, maps, classes, normalise=normalise, steps=4
    )
    clean = network(normalise(images)).softmax(1)[torch.arange(5), classes]
    torch.testing.assert_close(found[:, 0, -1], clean)
    torch.testing.assert_close(found[:, 1, 0], clean)


def test_areas_of_curves():
    metric = InsertionDeletion(2)
    metric.update(torch.tensor([[[0.0, 0.5, 1.0], [1.0, 0.0, 0.0]]]).double())
    metric.update(torch.tensor([[[0.5, 0.5, 1.0], [0.5, 0.5, 0.0]]]).double())
    scores = metric.compute()
    assert scores.insertion.tolist() == [0.25, 0.5, 1]
    assert scores.insertion_auc == pytest.approx((0.5 + 0.625) / 2)
    assert scores.deletion_auc == pytest.approx((0.25 + 0.375) / 2)
    content = json.loads(json.dumps(scores.to_dict()))
    assert content['images'] == 2 and content['deletion'] == [0.75, 0.25, 0]


def test_area_of_uneven_stacks():
    values = np.array([[0, 1, 2], [4, 4, 4]])
    np.testing.assert_allclose(area_under_curve(values, 0.5), [1, 4])


# --- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(maps=torch.zeros(5, 11, 7)), r'not \(5, 3, 7, 11\) and \(5, 11, 7\)'),
        (dict(maps=torch.zeros(4, 7, 11)), r'not \(5, 3, 7, 11\) and \(4, 7, 11\)'),
        (dict(images=torch.zeros(0, 3, 7, 11)), 'must be .* of the same size'),
        (dict(images=torch.full((5, 3, 7, 11), 1.5)), 'from 1.5 to 1.5: .* before'),
        (dict(images=torch.full((5, 3, 7, 11), torch.nan)), 'from nan to nan'),
    ],
)
def test_bad_images(network, scene, change, message):
    arguments = dict(images=scene[0], maps=scene[1]) | change
    with pytest.raises(DataError, match=message) as error:
        perturbed_logits(network, **arguments, normalise=normalise)
    assert '\n' not in str(error.value)


def test_maps_without_a_ranking(network, scene):
    images, maps, classes = scene
    maps[3, 1, 1] = torch.nan
    with pytest.raises(DataError, match=r'map of image 3 .* not finite'):
        perturbed_logits(network, images, maps, normalise=normalise)
    with pytest.raises(DataError, match=r'map of image 3 .* not finite'):
        insertion_deletion_probabilities(
            network, images, maps, classes, normalise=normalise
        )


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ([0, 1, 2, 4, 0], 'class 4 is out of range: the network knows 0 to 3'),
        ([0, 1, -1, 3, 0], 'class -1 is out of range'),
        ([0, 1], r'each of 5 images, not a tensor of size \(2,\)'),
    ],
)
def test_bad_classes(network, scene, classes, message):
    images, maps, _ = scene
    classes = torch.tensor(classes)
    with pytest.raises(DataError, match=message):
        insertion_deletion_probabilities(
            network, images, maps, classes, normalise=normalise, steps=2
        )
    metric = Perturbation()
    with pytest.raises(DataError, match=message):
        metric.update(torch.zeros(5, 2, 10, 4), classes)
    assert len(metric) == 0


def test_bad_logits():
    targets = torch.tensor([0])
    with pytest.raises(DataError, match=r'\(N, 2, 10, at least 2 classes\), not'):
        Perturbation().update(torch.zeros(1, 2, 9, 4), targets)
    with pytest.raises(DataError, match=r'at least 2 classes'):
        Perturbation().update(torch.zeros(1, 2, 10, 1), targets)
    with pytest.raises(DataError, match='not finite: check its weights'):
        Perturbation().update(torch.full((1, 2, 10, 4), torch.nan), targets)
    with pytest.raises(DataError, match='not finite: check its weights'):
        InsertionDeletion(2).update(torch.full((1, 2, 3), torch.nan))
    with pytest.raises(DataError, match='evaluate again'):
        InsertionDeletion(2).update(torch.zeros(1, 2, 4))


def test_bad_settings(network, scene):
    images, maps, _ = scene
    with pytest.raises(ConfigError, match='batch_size must be at least 1, not 0'):
        masked_logits(network, images, images, pixel_ranks(maps), [(0, 1)], 0)
    with pytest.raises(ConfigError, match='steps must be at least 2'):
        perturbed_logits(network, images, maps, normalise=normalise, steps=1)


def test_nothing_to_evaluate():
    for metric in (Perturbation(), InsertionDeletion()):
        with pytest.raises(DataError, match='the id list is empty'):
            metric.compute()
