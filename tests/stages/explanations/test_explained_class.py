"""The class and the probability that tests of explanations take, and the colour of deletion."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from explaining import METHODS, OBJECTS, config, run, write_photos
from imagenet_trees import save_tiny_vit
from torch import nn

from wsss_plugins.backbones import TimmMaps
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.engine import Stage
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.metrics import insertion_deletion_probabilities
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.stages.explanations.attribution import mean_colour
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import Tags

INSERTION, PERTURBATION = 'InsertionDeletionTestStage', 'PerturbationTestStage'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    return save_tiny_vit(tmp_path / 'vit.safetensors')


def test_probability_of_the_label_at_the_clean_end(root, model, tmp_path) -> None:
    from wsss_plugins.classifiers import TimmClassifier

    methods = dict(methods={'rollout': METHODS['rollout']})
    options = dict(explained='target', probability='sigmoid', steps=2)
    run(tmp_path / 'out', INSERTION, root, model, **options, **methods)
    found = load_json(tmp_path / 'out/scores.json')['rollout']
    data = build_as(DATASETS, config(INSERTION, root, {})['dataset'], WSSSDataset)
    classifier = TimmClassifier(**{k: v for k, v in model.items() if k != 'type'})
    stage = build_as(STAGES, config(INSERTION, root, model), Stage)
    expected = []
    for i in range(len(OBJECTS)):
        photo, _ = stage._load(data, i)
        image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            logits = classifier.eval()(classifier.normalise(image))['class'][0]
        labels = torch.from_numpy(data.labels(i)) > 0
        expected.append(logits[labels].max().sigmoid().item())
    assert found['insertion'][-1] == pytest.approx(np.mean(expected), rel=1e-3)
    assert found['deletion'][0] == pytest.approx(np.mean(expected), rel=1e-3)


def test_the_target_alone_is_that_of_both(root, model, tmp_path) -> None:
    both = run(tmp_path / 'both', PERTURBATION, root, model)
    alone = run(tmp_path / 'one', PERTURBATION, root, model, explained=['target'])
    two = load_json(tmp_path / 'both/scores.json')
    one = load_json(tmp_path / 'one/scores.json')
    for title in METHODS:
        assert list(one[title]) == ['target']
        assert one[title]['target'] == two[title]['target']
        auc = two[title]['target']['negative']['auc']
        assert alone[f'{title}_negative'] == round(auc, 3)
        auc = two[title]['predicted']['negative']['auc']
        assert both[f'{title}_negative'] == round(auc, 3)


def test_cards_say_which_class_and_that_labels_are_used(root) -> None:
    def declared(kind: str, **more: Any) -> Any:
        return build_as(STAGES, config(kind, root, 'trained', **more), Stage).measured()

    usual = declared(INSERTION)
    assert usual.labels == Tags.NONE()
    assert usual.protocol == dict(input_size='32x32', steps='100')
    other = declared(INSERTION, explained='target', probability='sigmoid')
    assert other.labels == Tags.TRUE()
    more = dict(explained='target', probability='sigmoid')
    assert other.protocol == {**usual.protocol, **more}
    assert declared(PERTURBATION).labels == Tags.NONE()
    alone = declared(PERTURBATION, explained=['target'])
    assert alone.labels == Tags.TRUE() and alone.protocol['explained'] == 'target'


@pytest.mark.parametrize(
    ('kind', 'more', 'message'),
    [
        (INSERTION, dict(explained='label'), "'predicted' or 'target', not 'label'"),
        (INSERTION, dict(probability='max'), r"one of \('softmax', 'sigmoid'\), not 'max'"),
        (PERTURBATION, dict(explained=[]), r'list of one or both .* not \[\]'),
        (PERTURBATION, dict(explained=['target'] * 2), 'list of one or both'),
        (PERTURBATION, dict(explained='target'), "explained .* must be Sequence.* not 'target'"),
    ],
)  # fmt: skip
def test_wrong_options(root, kind, more, message) -> None:
    with pytest.raises(ConfigError, match=message):
        build_as(STAGES, config(kind, root, 'trained', **more), Stage)


def test_metric_refuses_another_probability() -> None:
    with pytest.raises(ConfigError, match='probability must be one of'):
        insertion_deletion_probabilities(
            lambda x: x.mean((2, 3)),
            torch.rand(1, 3, 16, 16),
            torch.rand(1, 16, 16),
            torch.zeros(1, dtype=torch.long),
            normalise=lambda x: x,
            probability='maximum',
        )


def test_other_classes_are_refused_for_the_target(root, tmp_path) -> None:
    wide = save_tiny_vit(tmp_path / 'wide.safetensors', num_classes=7)
    with pytest.raises(DataError, match='20 classes but the classifier 7'):
        run(tmp_path / 'out', INSERTION, root, wide, explained='target')


def test_the_mean_colour_of_a_network_that_normalises() -> None:
    network = TimmMaps('resnet18', mean=(51.0, 102.0, 153.0), std=(1.0,) * 3)
    outer = SimpleNamespace(mean=torch.zeros(1, 1, 1))
    backbone = nn.Sequential(nn.Identity(), network)
    found = mean_colour(SimpleNamespace(backbone=backbone, data_preprocessor=outer))  # type: ignore[arg-type]
    assert found == pytest.approx([0.2, 0.4, 0.6])
    usual = SimpleNamespace(mean=torch.full((3, 1, 1), 51.0))
    plain = SimpleNamespace(backbone=nn.Identity(), data_preprocessor=usual)
    assert mean_colour(plain) == pytest.approx([0.2] * 3)  # type: ignore[arg-type]


def test_a_sample_is_the_same_every_time(root) -> None:
    def ids(**more: Any) -> list[str]:
        cfg = config(INSERTION, root, {})['dataset'] | more
        return build_as(DATASETS, cfg, WSSSDataset).ids

    every = ids()
    three = ids(sample=3)
    assert len(three) == 3 and three == sorted(three) and three == ids(sample=3)
    assert three != every[:3] and set(three) < set(ids(sample=5)), 'nested'
    assert ids(sample=99) == every
    assert ids(sample=3, leave_out=[three[0]]) == three[1:], 'the others stay'
    assert set(ids(sample=2, indices=4)) < set(every[:4]), 'among those of indices'
    assert set(ids(sample=1, indices=[5, 6])) < set(every[5:])
    for wrong in (0, 2.5, True):
        with pytest.raises(
            ConfigError, match=r'whole number of images from 1 on|must be int'
        ):
            ids(sample=wrong)
