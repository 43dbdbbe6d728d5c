"""The seed of one photo in Python: that of the stages, and what a notebook shows of it."""

from __future__ import annotations

import base64
import re
from io import BytesIO

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.explain import explain, make_seed, refine_seed
from wsss_plugins.refiners import ConstantBackground
from wsss_plugins.structures import Seed

NAMES = ('cat', 'dog', 'sofa', 'tree', 'car')


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture
def model(tiny_classifier):
    model = tiny_classifier().eval()
    model.class_names = NAMES
    return model


def pictures(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/\w+;base64,([^"]+)"', html)
    return [Image.open(BytesIO(base64.b64decode(text))) for text in found]


def test_it_is_the_definition_over_a_photo_and_its_mirror_image(model, photo) -> None:
    seed = make_seed(model, Image.fromarray(photo), ['sofa', 0], method='cam')
    images = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        total = 0
        for mirrored in (False, True):
            view = images.flip(-1) if mirrored else images
            tokens = model.backbone(model.normalise(view))
            maps = model.cam_logits(tokens)[:, [0, 2]].clamp(min=0)
            total = total + (maps.flip(-1) if mirrored else maps) / 2
    expected = F.interpolate(total, size=(24, 40), mode='bilinear')[0]
    low, high = expected.amin((1, 2), True), expected.amax((1, 2), True)
    expected = (expected - low) / (high - low + 1e-6)
    assert seed.classes.tolist() == [0, 2] and seed.size == (24, 40)
    torch.testing.assert_close(seed.scores, expected, rtol=1e-4, atol=1e-5)


def test_views_and_size_are_the_callers(model, photo) -> None:
    one = make_seed(model, photo, [1], flip=False)
    two = make_seed(model, photo, [1], flip=False, scales=(1.0, 2.0))
    small = make_seed(model, photo, [1], flip=False, max_side=20)
    assert one.size == two.size == small.size == (24, 40)
    assert not torch.equal(one.scores, two.scores)
    assert not torch.equal(one.scores, small.scores)


@pytest.mark.parametrize(
    ('classes', 'said'),
    [
        (['lion'], "unknown class 'lion'"),
        ([9], 'class 9 is out of range'),
        ('cat', r"not the text 'cat': give \['cat'\]"),
    ],
)
def test_wrong_classes_are_refused(model, photo, classes, said) -> None:
    with pytest.raises(ConfigError, match=said):
        make_seed(model, photo, classes)


def test_no_class_is_a_seed_of_background(model, photo) -> None:
    seed = make_seed(model, photo, [])
    assert seed.scores.shape == (0, 24, 40)
    labels = refine_seed(seed, photo, [ConstantBackground()]).to_label()
    assert not labels.any()


def test_refiners_run_in_order_and_see_the_photo(model, photo) -> None:
    seed = make_seed(model, photo, ['cat', 'tree'])
    refined = refine_seed(seed, photo, [ConstantBackground(0.4)])
    above = seed.normalised().scores.amax(0) > 0.4
    assert torch.equal(refined.to_label() > 0, above)
    assert set(refined.to_label().unique().tolist()) <= {0, 1, 4}
    with pytest.raises(DataError, match='resize the seed'):
        refine_seed(seed, photo[:20], [ConstantBackground()])
    with pytest.raises(ConfigError, match='must be a dict'):
        refine_seed(seed, photo, ['dense_crf'])


def test_a_notebook_shows_a_seed() -> None:
    scores = torch.zeros(2, 6, 8)
    scores[0, :, :4], scores[1, 0, 7] = 2.0, 0.5
    seed = Seed(scores, torch.tensor([3, 11]))
    html = seed._repr_html_()
    assert '2 classes, 6 × 8 pixels' in html
    assert 'class 3: 0.00 to 2.00' in html and 'class 11: 0.00 to 0.50' in html
    first, second = pictures(html)
    assert first.size == (8, 6)
    assert np.asarray(first)[0, 0].min() > 160 and np.asarray(first)[0, 7].max() < 10
    assert np.asarray(second)[0, 7].min() > 160, 'each map on its own scale'
    refined = Seed(scores, seed.classes, torch.full((6, 8), 0.3))
    *_, labels = pictures(refined._repr_html_())
    assert np.asarray(labels).tolist() == refined.to_label().tolist()
    empty = Seed(torch.zeros(0, 6, 8), torch.zeros(0, dtype=torch.long))
    assert pictures(empty._repr_html_()) == []


def test_a_notebook_shows_an_explanation(model, photo) -> None:
    model.class_names = ('<cat>', *NAMES[1:])
    found = explain(model, photo, 'generic_attention_relevance', classes=[0, 4])
    html = found._repr_html_()
    photo_shown, first, second = pictures(html)
    assert photo_shown.size == first.size == second.size == (320, 192)
    assert '<cat>' not in html and '&lt;cat&gt;, ' in html
    assert f'{100 * found.probabilities[1]:.1f} %: generic attention relevance' in html
    assert html.count('alt="') == 3
