"""Any head's maps along the patch affinity: equal to ACR's own and to the refiner's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from wsss_plugins.backbones import TimmCNN, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.errors import ConfigError, DataError, UserError
from wsss_plugins.refiners import PatchAffinity
from wsss_plugins.registry import SEED_HEADS, build_as, plugin_names
from wsss_plugins.seeds import (
    CAM,
    ACRGradientMap,
    AffinityRefined,
    GenericAttentionRelevance,
    InputXGradient,
    MCTformerMap,
    SeedHead,
)
from wsss_plugins.structures import Seed

LABELS = torch.tensor([[1, 0, 1, 0, 0], [0, 0, 0, 1, 0]])


@pytest.fixture
def images():
    return torch.randn(2, 3, 24, 40, dtype=torch.float64)


@pytest.mark.parametrize('prefix', [1, 2])
def test_it_is_what_acr_does(prefix, images, tiny_classifier) -> None:
    model = tiny_classifier(prefix=prefix).double()
    for start in (0, -2):
        around = AffinityRefined(ACRGradientMap(start, affinity=False))
        expected = ACRGradientMap(start)(model, images, LABELS)
        found = around(model, images, LABELS)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


def test_patches_give_where_others_take(images, tiny_classifier) -> None:
    """Transposed, by hand; the mean of both directions is the mean of the maps."""
    model = tiny_classifier().double().eval()
    plain = ACRGradientMap(affinity=False)
    found = {
        way: AffinityRefined(plain, direction=way)(model, images, LABELS)
        for way in ('take', 'give', 'both')
    }
    with torch.no_grad(), capture(model.backbone, images) as trace:
        affinity = sum(a.mean(1)[:, 1:, 1:] for a in trace.attn)
    maps = plain(model, images, LABELS)
    expected = maps.flatten(2) @ affinity
    torch.testing.assert_close(found['give'], expected.view_as(maps))
    assert not torch.allclose(found['give'], found['take'])
    torch.testing.assert_close(found['both'], (found['take'] + found['give']) / 2)
    with pytest.raises(ConfigError, match=r"direction must be one of .*, not 'from'"):
        AffinityRefined(plain, direction='from')


def test_it_is_what_mctformer_does(images, tiny_mctformer) -> None:
    model = tiny_mctformer().double()
    found = AffinityRefined(MCTformerMap(refine=False))(model, images, LABELS)
    torch.testing.assert_close(found, MCTformerMap()(model, images, LABELS))


@pytest.mark.parametrize('name', plugin_names(SEED_HEADS))
def test_any_head_by_the_definition(name, images, tiny_classifier) -> None:
    """The positive maps times the attention, whichever forward pass the head takes."""
    model = tiny_classifier().double().eval()
    head = build_as(SEED_HEADS, dict(type=name), SeedHead)
    try:
        maps = head(model, images, LABELS)
    except ConfigError:
        pytest.skip('it reads another backbone')
    except UserError as error:
        assert name in str(error)
        pytest.skip('it reads another head')
    around = AffinityRefined(head, power=2)
    if maps.shape[2:] != (3, 5):
        with pytest.raises(DataError, match='take the refiner PatchAffinity for it'):
            around(model, images, LABELS)
        return
    with torch.no_grad(), capture(model.backbone, images) as trace:
        affinity = sum(a.mean(1)[:, 1:, 1:] for a in trace.attn)
    expected = maps.flatten(2)
    for _ in range(2):
        expected = torch.stack(
            [m @ a.T for m, a in zip(expected, affinity, strict=True)]
        )
    found = around(model, images, LABELS)
    torch.testing.assert_close(found, expected.unflatten(2, (3, 5)))


@pytest.mark.parametrize('head', [GenericAttentionRelevance(), CAM()])
def test_the_refiner_does_it_on_pixels(head, tiny_classifier) -> None:
    """Equal where the seed is constant on each patch; else the pooling blurs it first.

    A seed of bilinear maps, which is what a stage makes, is not constant on a patch: the
    refiner sees means over a patch and its neighbours.
    """
    model = tiny_classifier().double().eval()
    photo = torch.randint(0, 256, (3, 24, 40), dtype=torch.uint8)
    inputs, labels = model.normalise(photo.double())[None], torch.ones(1, 5)
    raw = head(model, inputs, labels)
    refined = AffinityRefined(head)(model, inputs, labels)
    expected = F.interpolate(refined, (24, 40), mode='bilinear')[0]
    refiner = PatchAffinity('classifier')
    refiner.bind({'classifier': model})
    blocks = raw[0].repeat_interleave(8, 1).repeat_interleave(8, 2)
    found = refiner(photo, Seed(blocks, torch.arange(5))).scores
    torch.testing.assert_close(found, expected)
    smooth = F.interpolate(raw, (24, 40), mode='bilinear')[0]
    blurred = refiner(photo, Seed(smooth, torch.arange(5))).scores
    gap = (blurred - expected).abs().max() / expected.max()
    assert 1e-6 < gap < 0.1


def test_what_is_refused(images) -> None:
    with pytest.raises(ConfigError, match='power must be 1 or more, not 0'):
        AffinityRefined(power=0)
    head = dict(type='TokenHead', num_classes=5, sources=('patch',))
    model = WSSSClassifier(backbone=TimmCNN('test_resnet.r160_in1k'), head=head)
    with pytest.raises(
        ConfigError, match='AffinityRefined reads attention, and TimmCNN'
    ):
        AffinityRefined(CAM())(model.double(), images, LABELS)
    with pytest.raises(ConfigError, match='RandomWalk'):
        AffinityRefined(dict(type='RandomWalk'))
    assert isinstance(AffinityRefined(InputXGradient()).head, InputXGradient)
