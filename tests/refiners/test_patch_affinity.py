"""Attention as a transition: against ACR's own refinement, MCTformer's, and by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wsss_plugins.backbones import Tokens, Trace, capture
from wsss_plugins.errors import ConfigError
from wsss_plugins.refiners import PatchAffinity, patch_transition, spread
from wsss_plugins.structures import Seed


def make_trace(*attn: torch.Tensor, prefix: int = 0) -> Trace:
    tokens = Tokens(torch.empty(0), torch.empty(0))
    return Trace(tokens, list(attn), prefix, (1, 2), torch.empty(0))


ATTN = torch.tensor([[[[0.5, 0.2, 0.3], [0.4, 0.6, 0.0], [0.1, 0.4, 0.5]]]])
"""One image, one head, a prefix token and two patches."""
PATCH = torch.tensor([[[0.6, 0.0], [0.4, 0.5]]])


def test_options_by_hand() -> None:
    trace = make_trace(ATTN, 2 * ATTN, prefix=1)
    torch.testing.assert_close(patch_transition(trace), 3 * PATCH)
    torch.testing.assert_close(patch_transition(trace, blocks=[-1]), 2 * PATCH)
    expected = torch.tensor([[[0.6, 0.2], [0.2, 0.5]]])
    torch.testing.assert_close(patch_transition(trace, [0], 'both'), expected)
    torch.testing.assert_close(patch_transition(trace, [0], 'give'), PATCH.mT)
    expected = torch.tensor([[[1.0, 0.0], [4 / 9, 5 / 9]]])
    found = patch_transition(trace, normalise=True)
    torch.testing.assert_close(found, expected)
    found = patch_transition(trace, normalise=True, residual=0.5)
    torch.testing.assert_close(found, expected + 0.5 * torch.eye(2))


def test_heads_are_averaged() -> None:
    heads = torch.cat([ATTN, torch.zeros_like(ATTN)], 1)
    found = patch_transition(make_trace(heads, prefix=1))
    torch.testing.assert_close(found, PATCH / 2)


def test_power_is_that_of_the_matrix() -> None:
    transition = torch.rand(12, 12, dtype=torch.float64)
    maps = torch.rand(2, 3, 4, dtype=torch.float64)
    power = torch.linalg.matrix_power(transition, 5)
    expected = (maps.flatten(1) @ power.T).reshape(2, 3, 4)
    torch.testing.assert_close(spread(maps, transition, 5), expected)


@pytest.mark.parametrize('prefix', [1, 2])
def test_default_is_the_refinement_of_acr(tiny_classifier, prefix: int) -> None:
    from wsss_plugins.seeds import ACRGradientMap

    model = tiny_classifier(prefix=prefix).double()
    image = torch.randint(0, 256, (3, 24, 40), dtype=torch.uint8)
    inputs, labels = model.normalise(image.double())[None], torch.ones(1, 5)
    raw = ACRGradientMap(affinity=False)(model, inputs, labels)[0]
    refined = ACRGradientMap(affinity=True)(model, inputs, labels)[0]
    with capture(model.backbone, inputs) as trace:
        transition = patch_transition(trace)
        torch.testing.assert_close(transition, trace.patch_affinity())
    torch.testing.assert_close(spread(raw, transition[0]), refined)
    # The refiner: maps that are constant over each patch are the maps of the patches.
    seed = Seed(raw.repeat_interleave(8, 1).repeat_interleave(8, 2), torch.arange(5))
    refiner = PatchAffinity('cls')
    refiner.bind({'cls': model})
    expected = F.interpolate(refined[None], (24, 40), mode='bilinear')[0]
    torch.testing.assert_close(refiner(image, seed).scores, expected)


def test_golden_of_mctformer(golden) -> None:
    arrays = golden('mctformer_v2_nonsquare')
    attn = torch.from_numpy(arrays['patch_attn_per_layer'])  # (blocks, 1, n, n)
    transition = patch_transition(make_trace(*attn[:, :, None]))
    for name in ('fused', 'patchcam', 'mct'):
        maps = torch.from_numpy(arrays[f'cams_n3_{name}'][0])
        expected = torch.from_numpy(arrays[f'refined_n3_{name}'][0])
        torch.testing.assert_close(
            spread(maps, transition[0]), expected, rtol=1e-5, atol=1e-6
        )


@pytest.fixture
def bound(tiny_classifier):
    def make(**kwargs) -> PatchAffinity:
        refiner = PatchAffinity(**kwargs)
        refiner.bind({'classifier': tiny_classifier()})
        return refiner

    return make


def test_constant_maps_stay_under_normalised_rows(bound) -> None:
    image = torch.randint(0, 256, (3, 30, 45), dtype=torch.uint8)
    seed = Seed(torch.full((1, 30, 45), 0.7), torch.tensor([2]), torch.ones(30, 45))
    refined = bound(normalise=True, power=3)(image, seed)
    torch.testing.assert_close(refined.scores, seed.scores)
    torch.testing.assert_close(refined.background, seed.background)


def test_batch_equals_one_by_one(bound) -> None:
    refiner = bound(power=2, blocks=[0, -1])
    images = [torch.randint(0, 256, (3, 20, 33), dtype=torch.uint8) for _ in range(3)]
    seeds = [Seed(torch.rand(k, 20, 33), torch.arange(k)) for k in (2, 0, 1)]
    together = refiner.refine_batch(images, seeds)
    assert [seed.background for seed in together] == [None] * 3
    for image, seed, found in zip(images, seeds, together, strict=True):
        torch.testing.assert_close(found.scores, refiner(image, seed).scores)


def test_the_input_size_matters_and_the_model_is_left_alone(tiny_classifier) -> None:
    model = tiny_classifier().train()
    refiner = PatchAffinity(input_size=(16, 56))
    refiner.bind({'classifier': model})
    image = torch.randint(0, 256, (3, 20, 33), dtype=torch.uint8)
    seed = Seed(torch.rand(1, 20, 33), torch.tensor([0]))
    refined = refiner(image, seed)
    assert refined.size == (20, 33) and model.training
    other = PatchAffinity()
    other.bind({'classifier': model})
    assert not torch.allclose(other(image, seed).scores, refined.scores)


def test_unknown_block(bound) -> None:
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    seed = Seed(torch.rand(1, 16, 16), torch.tensor([0]))
    with pytest.raises(ConfigError, match=r'blocks 0 to 2 \(or -3 to -1\), not 3'):
        bound(blocks=[1, 3])(image, seed)


def test_model_of_another_kind() -> None:
    with pytest.raises(ConfigError, match="'cls' trained a Linear"):
        PatchAffinity('cls').bind({'cls': nn.Linear(1, 1)})


@pytest.mark.parametrize('wrong', [dict(power=0), dict(residual=-1), dict(blocks=[])])
def test_numbers_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match='needs power >= 1'):
        PatchAffinity(**wrong)
