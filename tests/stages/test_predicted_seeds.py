"""Seeds of the classes that a model predicts, where nobody tells it the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from trees import make_voc

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.datasets import VOC12
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.stages import SeedStage
from wsss_plugins.structures import Seed, save_npz
from wsss_plugins.structures.layout import seed_path

SIZE = (16, 24)
"""Of the input; the photos are 6 x 10."""

MODEL = dict(
    type='WSSSClassifier',
    backbone=dict(type='TimmViT', img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2),
    head=dict(type='TokenHead', num_classes=20),
)  # fmt: skip


@pytest.fixture
def root(tmp_path) -> Path:
    return make_voc(tmp_path / 'data', {'a': ['aeroplane'], 'b': ['bicycle']})


@pytest.fixture
def model(monkeypatch) -> WSSSClassifier:
    torch.manual_seed(1)
    model = build_as(MODELS, MODEL, WSSSClassifier).eval()
    model.head.fc.weight.data *= 3  # it is sure of some classes
    monkeypatch.setattr('wsss_plugins.stages.seed.load_trained', lambda *_: model)
    return model


def stage(root: Path, **changes: object) -> SeedStage:
    dataset = dict(type='VOC12', data_root=str(root), split='train')
    cfg = dict(name='seeds', model='m', head=dict(type='CAM'), dataset=dataset)
    return SeedStage(**cfg, input_size=SIZE, **changes)


def probabilities(root: Path, model: WSSSClassifier, index: int) -> torch.Tensor:
    photo = torch.from_numpy(VOC12(root, 'train').load_image(index))
    images = photo.permute(2, 0, 1)[None].float()
    images = torch.nn.functional.interpolate(images, size=SIZE, mode='bilinear')
    with torch.no_grad():
        logits = model(model.normalise(images))
    return torch.stack(list(logits.values())).mean(0).sigmoid()[0]


def test_classes_above_the_probability_and_how_sure(root, model, tmp_path) -> None:
    sure = [probabilities(root, model, i) for i in range(2)]
    least = float(torch.stack(sure).sort().values[:, -4:].min()) - 1e-4
    making = stage(root, min_probability=least)
    assert making.provenance()['labels'] == f'predicted, probability >= {least:g}'
    making.run(tmp_path / 'seeds', {'m': tmp_path})
    for i, name in enumerate('ab'):
        seed = Seed.load(seed_path(tmp_path / 'seeds', name))
        expected = (sure[i] >= least).nonzero()[:, 0]
        assert len(expected) >= 4
        assert seed.classes.tolist() == expected.tolist()
        torch.testing.assert_close(seed.confidence, sure[i][expected])
        assert seed.size == (6, 10)


def test_maps_are_those_of_the_same_labels(root, model, tmp_path) -> None:
    given = stage(root)
    given.run(tmp_path / 'given', {'m': tmp_path})
    stage(root, min_probability=1e-9).run(tmp_path / 'all', {'m': tmp_path})
    for name, c in (('a', 0), ('b', 1)):
        one = Seed.load(seed_path(tmp_path / 'given', name))
        every = Seed.load(seed_path(tmp_path / 'all', name))
        assert one.classes.tolist() == [c] and one.confidence is None
        assert every.classes.tolist() == list(range(20))
        torch.testing.assert_close(every.scores[c], one.scores[0])


def test_no_class_is_likely_enough(root, model, tmp_path) -> None:
    stage(root, min_probability=1.0).run(tmp_path / 'seeds', {'m': tmp_path})
    seed = Seed.load(seed_path(tmp_path / 'seeds', 'a'))
    assert seed.classes.tolist() == [] and seed.confidence.shape == (0,)
    assert seed.scores.shape == (0, 6, 10) and seed.background is None


@pytest.mark.parametrize('value', [0, -0.1, 1.5])
def test_no_probability(root, value) -> None:
    with pytest.raises(ConfigError, match=r'min_probability must be in \(0, 1\]'):
        stage(root, min_probability=value)


def test_confidence_is_kept_with_the_seed(tmp_path) -> None:
    seed = Seed(torch.rand(2, 3, 5), torch.tensor([4, 7]), confidence=torch.rand(2))
    seed.save(tmp_path / 'x.npz')
    again = Seed.load(tmp_path / 'x.npz')
    torch.testing.assert_close(again.confidence, seed.confidence)
    assert again.background is None
    for part in (seed.normalised(), seed.resized((6, 4)), seed.to(torch.device('cpu'))):
        assert part.confidence is not None and len(part.confidence) == 2


@pytest.mark.parametrize(
    ('confidence', 'message'),
    [([0.5], r'a confidence for each of 2 classes'), ([0.5, np.nan], 'not finite')],
)
def test_broken_confidence(tmp_path, confidence, message) -> None:
    arrays = dict(scores=np.zeros((2, 3, 5)), classes=np.arange(2))
    save_npz(tmp_path / 'x.npz', arrays | dict(confidence=np.array(confidence)))
    with pytest.raises(DataError, match=message):
        Seed.load(tmp_path / 'x.npz')
