"""The random walk as a refiner."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wsss_plugins.affinity import ColourBoundaries, ColourFeatures
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.refiners import ConstantBackground, RandomWalk, RefinerChain
from wsss_plugins.structures import Seed


def two_halves(height: int = 37, width: int = 50, edge: int = 24) -> Tensor:
    image = torch.full((3, height, width), 30, dtype=torch.uint8)
    image[:, :, edge:] = 220
    return image


def make_seed(scores: Tensor, background: float | None = 0.3) -> Seed:
    size = scores.shape[1:]
    given = None if background is None else torch.full(size, background)
    return Seed(scores, torch.arange(len(scores)), given)


def test_spreads_over_one_colour_and_stops_at_the_next() -> None:
    scores = torch.zeros(1, 37, 50)
    scores[0, 10:25, 26:36] = 1
    walk = RandomWalk(dict(type='ColourFeatures', stride=4, sigma=20.0))
    label = walk(two_halves(), make_seed(scores, 0.05)).to_label()
    assert (label[:36, 26:48] == 1).all()
    assert (label[:, :22] == 0).all()


@pytest.mark.parametrize('source', ['ColourFeatures', 'ColourBoundaries'])
def test_constant_scores_keep_their_winner(source: str) -> None:
    image = torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8)
    scores = torch.tensor([0.5, 0.2])[:, None, None].expand(2, 40, 56)
    refined = RandomWalk(dict(type=source))(image, make_seed(scores))
    assert (refined.to_label() == 1).all()


def test_a_constant_image_keeps_a_constant_seed() -> None:
    image = torch.full((3, 32, 48), 99, dtype=torch.uint8)
    scores = torch.tensor([0.5, 0.2])[:, None, None].expand(2, 32, 48)
    refined = RandomWalk(border='psa')(image, make_seed(scores))
    assert torch.allclose(refined.scores, scores, atol=2e-6)
    assert torch.allclose(refined.background, torch.tensor(0.3), atol=2e-6)


def test_log_steps_are_squarings() -> None:
    image = torch.randint(0, 256, (3, 33, 47), dtype=torch.uint8)
    seed = make_seed(torch.rand(2, 33, 47))

    def values(**given) -> Tensor:
        return RandomWalk(**given)(image, seed).probabilities()

    assert torch.equal(values(log_steps=3), values(steps=8))
    assert torch.equal(values(), values(steps=256))
    assert not torch.allclose(values(steps=3), values(steps=8))


def test_the_background_walks_only_if_told() -> None:
    image = torch.randint(0, 256, (3, 33, 47), dtype=torch.uint8)
    scores, background = torch.rand(2, 33, 47), torch.rand(33, 47)
    seed = Seed(scores, torch.arange(2), background)
    both = RandomWalk()(image, seed)
    classes = RandomWalk(walk_background=False)(image, seed)
    assert torch.equal(classes.scores, both.scores)
    assert torch.equal(classes.background, background)
    assert not torch.allclose(both.background, background, atol=0.01)


def test_absent_background_and_bad_scores_are_data_errors() -> None:
    image, scores = two_halves(), torch.rand(2, 37, 50)
    with pytest.raises(DataError, match='put a background policy first'):
        RandomWalk()(image, make_seed(scores, None))
    late = RefinerChain([RandomWalk(walk_background=False), ConstantBackground()])
    assert late(image, make_seed(scores, None)).background is not None
    scores[1, 3, 4] = float('nan')
    with pytest.raises(DataError, match='not finite'):
        RandomWalk()(image, make_seed(scores))


class TrainedFeatures(ColourFeatures):
    """As an AffinityNet, it has weights."""

    def __init__(self) -> None:
        super().__init__(stride=4, sigma=30.0)
        self.gain = nn.Parameter(torch.ones(()))

    def features(self, images: Tensor) -> Tensor:
        return self.gain * super().features(images)


def test_takes_the_model_of_its_stage() -> None:
    walk = RandomWalk('affinity', beta=16.0)
    assert walk.stages == ('affinity',)
    image, seed = two_halves(), make_seed(torch.rand(2, 37, 50))
    with pytest.raises(ConfigError, match="stage 'affinity': bind its model"):
        walk(image, seed)
    walk.bind(dict(affinity=TrainedFeatures(), other=nn.Identity()))
    refined = walk(image, seed)
    free = RandomWalk(ColourFeatures(stride=4, sigma=30.0), beta=16.0)
    assert torch.equal(refined.scores, free(image, seed).scores)
    assert not refined.scores.requires_grad


def test_a_chain_asks_for_the_models_of_all_its_parts() -> None:
    chain = RefinerChain(
        [
            dict(type='PowerBackground'),
            dict(type='RandomWalk', affinity='net'),
            RefinerChain([RandomWalk('boundary'), RandomWalk('net', beta=4.0)]),
        ]
    )
    assert chain.stages == ('net', 'boundary')
    assert RefinerChain().stages == ()
    chain.bind(dict(net=TrainedFeatures(), boundary=ColourBoundaries()))
    seed = make_seed(torch.rand(2, 37, 50), None)
    assert chain(two_halves(), seed).probabilities().isfinite().all()


def test_a_model_without_affinities_is_refused() -> None:
    with pytest.raises(ConfigError, match="Linear of stage 'net' gives no affinities"):
        RandomWalk('net').bind(dict(net=nn.Linear(2, 2)))
    with pytest.raises(ConfigError, match='ReLU gives no affinities'):
        RandomWalk(nn.ReLU())


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(beta=0), 'beta > 0 .* not 0'),
        (dict(steps=-1), 'not 8.0 and -1'),
        (dict(log_steps=-2), 'not 8.0 and 0.25'),
        (dict(steps=8, log_steps=3), 'not both'),
        (dict(border='isn'), "did you mean 'irn'"),
        (dict(affinity=dict(type='ColorFeatures')), "did you mean 'ColourFeatures'"),
    ],
)
def test_bad_arguments(given, message) -> None:
    with pytest.raises(ConfigError, match=message):
        RandomWalk(**given)
