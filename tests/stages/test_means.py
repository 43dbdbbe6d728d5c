"""Every mean says over what it is, and absent classes of one's own data do not count."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import half_mask, make_folder, make_voc

from wsss_plugins.engine.stage import Stage
from wsss_plugins.metrics import SegmentationScores
from wsss_plugins.provenance.run import run_with_card
from wsss_plugins.report.rows import Row, measure_of, rows_of
from wsss_plugins.stages import EvaluateLabelStage, EvaluateSeedStage
from wsss_plugins.structures import Seed, save_label_map
from wsss_plugins.structures.card_text import long_form, short_form
from wsss_plugins.structures.layout import METRICS_FILE, label_path, seed_path

ROWS = [('a.png', 'person'), ('b.png', 'person'), ('c.png', 'car'), ('d.png', 'dog')]
PERSON = 3  # label of the classes in the order of the alphabet: car, dog, person


def own(root: Path) -> dict:
    """Four photos of three classes; masks of two photos show persons alone."""
    make_folder(root / 'photos', ROWS)
    for name in 'ab':
        save_label_map(root / f'photos/masks/{name}.png', half_mask(PERSON))
        save_label_map(label_path(root / 'labels', name), half_mask(PERSON) % 255)
        scores = (half_mask(PERSON) == PERSON).astype(np.float32)[None]

        seed = Seed(torch.from_numpy(scores), torch.tensor([PERSON - 1]))
        seed.save(seed_path(root / 'labels', name))
    masks = dict(label_maps='masks', only_with_maps=True, test_mode=True)
    return dict(
        type='FolderWSSS', data_root=str(root / 'photos'), split='train', **masks
    )


@pytest.mark.parametrize(
    ('kind', 'key'), [(EvaluateLabelStage, 'miou'), (EvaluateSeedStage, 'best_miou')]
)
def test_a_perfect_prediction_of_what_masks_show(tmp_path, kind, key) -> None:
    stage: Stage = kind('score', 'labels', own(tmp_path))
    metrics, card = run_with_card(
        stage,
        tmp_path / 'score',
        dict(labels=tmp_path / 'labels'),
        config=dict(dataset=stage.dataset),
    )
    assert metrics[key] == 100
    expected = dict(classes=2, absent_classes=2, images=2)
    assert expected.items() <= metrics.items()
    assert card is not None
    assert card.protocol == dict(convention='present', classes='2 of 4')
    assert '2 of 4 classes' in short_form(card)
    assert ('classes', '2 of 4') in long_form(card)
    measure = measure_of(metrics, key)
    assert measure.endswith('over 2 of 4 classes, 2 images')
    other = kind('score', 'labels', own(tmp_path / 'again'), convention='acr')
    zeros = other.run(tmp_path / 'zeros', dict(labels=tmp_path / 'again/labels'))
    assert zeros[key] == 50
    expected = dict(classes=4, absent_as_0=2, images=2)
    assert expected.items() <= zeros.items()
    assert '4 classes (2 absent, counted as 0), 2 images' in measure_of(zeros, key)


def test_a_benchmark_counts_all_its_classes(tmp_path, monkeypatch) -> None:
    root = make_voc(tmp_path / 'data', {'a': ['aeroplane']})
    masks = dict(label_maps='SegmentationClass', test_mode=True)
    images = dict(type='VOC12', data_root=str(root), split='train', **masks)
    save_label_map(label_path(tmp_path / 'labels', 'a'), half_mask(1) % 255)
    said: list[str] = []
    keep = lambda text, **_: said.append(text)  # noqa: E731
    monkeypatch.setattr(logging.getLogger('wsss_plugins'), 'warning', keep)
    stage = EvaluateLabelStage('score', 'labels', images)
    assert stage.convention == 'acr'
    metrics = stage.run(tmp_path / 'score', dict(labels=tmp_path / 'labels'))
    assert metrics['absent_as_0'] == 19 and metrics['classes'] == 21
    assert '19 of 21 classes are in no mask and no prediction' in said[0]


def test_scores_say_over_how_many_classes_they_are() -> None:
    confusion = np.diag([5, 0, 0, 7])
    scores = SegmentationScores(confusion, 'present')
    assert (scores.miou, scores.averaged_classes, scores.absent_classes) == (100, 2, 2)
    confusion[0, 1] = 1  # predicted, and nowhere in the ground truth
    assert SegmentationScores(confusion, 'present').averaged_classes == 3
    assert SegmentationScores(confusion, 'deeplab').averaged_classes == 2
    assert SegmentationScores(confusion, 'acr').averaged_classes == 4
    assert SegmentationScores(confusion, 'acr').to_dict()['averaged_classes'] == 4


def test_words_of_other_measures() -> None:
    assert measure_of({'multilabel/mAP': 5.0}, 'multilabel/mAP') == 'validation mAP'
    metrics = {'v/mAP': 5.0, 'v/classes': 3.0, 'v/images': 12.0}
    assert measure_of(metrics, 'v/mAP') == 'validation mAP over 3 classes, 12 images'


def test_counts_are_no_results_of_a_table(tmp_path) -> None:
    content = dict(metrics=dict(score=2.0, classes=3, absent_classes=1, images=4))
    (tmp_path / METRICS_FILE).write_text(json.dumps(content))
    (row,) = rows_of(tmp_path, [tmp_path.name])
    assert isinstance(row, Row) and row.metrics == dict(score=2.0)
