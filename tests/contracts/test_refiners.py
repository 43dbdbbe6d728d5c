"""What every refiner of REFINERS must keep to, built with its default arguments."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import wsss_plugins.refiners  # noqa: F401  (registers)
from wsss_plugins.errors import ConfigError, DataError, PlugInError
from wsss_plugins.refiners import Refiner, RefinerChain
from wsss_plugins.registry import REFINERS, build_as
from wsss_plugins.structures import Seed

REFINER_NAMES = sorted(REFINERS.module_dict)
NEED_MODELS = [n for n in REFINER_NAMES if REFINERS.build(dict(type=n)).stages]


@pytest.fixture(params=REFINER_NAMES)
def refiner(request, tiny_classifier) -> Refiner:
    """A refiner; one that reads a trained classifier gets a small one of stride 8."""
    refiner = build_as(REFINERS, dict(type=request.param), Refiner)
    refiner.bind({stage: tiny_classifier() for stage in refiner.stages})
    return refiner


@pytest.fixture
def image() -> Tensor:
    return torch.randint(0, 256, (3, 21, 34), dtype=torch.uint8)


def make_seed(classes: int = 2, height: int = 21, width: int = 34) -> Seed:
    ids = torch.tensor([4, 11, 17])[:classes]
    scores = torch.rand(classes, height, width)
    return Seed(scores, ids, torch.full((height, width), 0.4))


@pytest.mark.parametrize('classes', [0, 1, 3])
def test_keeps_classes_and_size(refiner: Refiner, image: Tensor, classes: int) -> None:
    seed = make_seed(classes)
    refined = refiner(image, seed)
    assert isinstance(refined, Seed)
    assert torch.equal(refined.classes, seed.classes)
    assert refined.size == (21, 34)
    assert refined.background is not None
    values = refined.probabilities()
    assert values.dtype == torch.float32
    assert values.isfinite().all() and (values >= 0).all()


def test_leaves_its_input_alone(refiner: Refiner, image: Tensor) -> None:
    seed = make_seed()
    tensors = (image, seed.scores, seed.classes, seed.background)
    before = [tensor.clone() for tensor in tensors]
    refiner(image, seed)
    for tensor, copy in zip(tensors, before, strict=True):
        assert torch.equal(tensor, copy)


def test_is_deterministic(refiner: Refiner, image: Tensor) -> None:
    seed = make_seed()
    first, second = refiner(image, seed), refiner(image, seed)
    assert torch.equal(first.probabilities(), second.probabilities())


def test_a_batch_is_refined_as_its_images_are(refiner: Refiner) -> None:
    shape = (4, 3, 21, 34)
    images = list(torch.randint(0, 256, shape, dtype=torch.uint8))
    seeds = [make_seed(classes) for classes in (2, 0, 3, 1)]
    together = refiner.refine_batch(images, seeds)
    assert len(together) == 4
    for image, seed, found in zip(images, seeds, together, strict=True):
        assert torch.equal(found.classes, seed.classes)
        alone = refiner(image, seed).probabilities()
        torch.testing.assert_close(found.probabilities(), alone, rtol=1e-5, atol=1e-5)


def test_refuses_a_batch_that_does_not_fit(refiner: Refiner, image: Tensor) -> None:
    seed, other = make_seed(), make_seed(height=34, width=21)
    images = [image, image.mT]
    for given, message in [
        (([image], [other]), r'\(21, 34\).*\(34, 21\)'),
        ((images, [seed, other]), r'of one size, not \(21, 34\) and \(34, 21\)'),
        ((images, [seed]), 'not 2 images and 1 seeds'),
        (([], []), 'not 0 images and 0 seeds'),
        (([image.float()], [seed]), 'uint8'),
    ]:
        with pytest.raises(DataError, match=message):
            refiner.refine_batch(*given)


def test_takes_scores_that_are_all_zero(refiner: Refiner, image: Tensor) -> None:
    seed = make_seed()
    empty = Seed(torch.zeros_like(seed.scores), seed.classes, seed.background)
    assert refiner(image, empty).probabilities().isfinite().all()


@pytest.mark.parametrize('name', NEED_MODELS)
def test_refuses_to_work_unbound(name: str, image: Tensor) -> None:
    refiner = build_as(REFINERS, dict(type=name), Refiner)
    with pytest.raises(ConfigError, match=f"'{refiner.stages[0]}'.*bind"):
        refiner(image, make_seed())


@pytest.mark.parametrize('name', NEED_MODELS)
def test_refuses_another_model(name: str) -> None:
    refiner = build_as(REFINERS, dict(type=name), Refiner)
    with pytest.raises(ConfigError, match='Linear'):
        refiner.bind({stage: torch.nn.Linear(2, 3) for stage in refiner.stages})


def test_refuses_an_image_of_another_size(refiner: Refiner, image: Tensor) -> None:
    with pytest.raises(DataError, match=r'\(21, 34\).*\(34, 21\)'):
        refiner(image, make_seed(height=34, width=21))


@pytest.mark.parametrize(
    'wrong',
    [torch.zeros(3, 21, 34), torch.zeros(1, 21, 34, dtype=torch.uint8)],
    ids=['float', 'grey'],
)
def test_refuses_an_image_that_is_no_rgb_bytes(refiner: Refiner, wrong: Tensor) -> None:
    with pytest.raises(DataError, match='uint8'):
        refiner(wrong, make_seed())


class Careless(Refiner):
    """Returns what ``spoil`` makes of the seed."""

    def __init__(self, spoil) -> None:
        self.spoil = spoil

    def refine(self, image: Tensor, seed: Seed) -> Seed:
        return self.spoil(seed)


@pytest.mark.parametrize(
    'spoil, message',
    [
        (lambda seed: seed.scores, 'Tensor: allowed is a Seed'),
        (
            lambda seed: replace(seed, classes=seed.classes + 1),
            r'classes \[5, 12\]: allowed',
        ),
        (lambda seed: Seed(seed.scores[:1], seed.classes[:1]), r'the classes \[4\]'),
        (lambda seed: seed.resized((10, 17)), r'of \(10, 17\) .*, \(21, 34\)'),
        (
            lambda seed: replace(seed, scores=seed.scores / 0),
            'scores that are NaN or inf',
        ),
        (
            lambda seed: replace(seed, scores=seed.scores - 2),
            'scores down to -[12].*>= 0',
        ),
        (
            lambda seed: replace(seed, background=seed.background - 1),
            'background down to',
        ),
    ],
)
def test_what_a_refiner_may_not_return(spoil, message: str, image: Tensor) -> None:
    """Alone, in a batch, and in the chain that a stage runs."""
    refiner, seed = Careless(spoil), make_seed()
    for ask in (
        lambda: refiner(image, seed),
        lambda: refiner.refine_batch([image], [seed]),
        lambda: RefinerChain([refiner]).refine_batch([image], [seed]),
        lambda: RefinerChain([refiner])(image, seed),
    ):
        with pytest.raises(
            PlugInError, match=rf'^Careless\.refine returned .*{message}'
        ):
            ask()


def test_a_batch_of_its_own_is_checked_in_a_chain(image: Tensor) -> None:
    class Fast(Careless):
        def refine_batch(self, images, seeds):
            return [self.spoil(seed) for seed in seeds]

    fast = Fast(lambda seed: seed.resized((10, 17)))
    with pytest.raises(PlugInError, match='Fast'):
        RefinerChain([fast]).refine_batch([image], [make_seed()])
