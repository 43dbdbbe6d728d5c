"""What evaluation stages measure, against the same measures taken by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import half_mask, make_voc

from wsss_plugins.errors import ConfigError
from wsss_plugins.metrics import (
    SeedIoU,
    SegmentationScores,
    boundary_counts,
    confusion_matrix,
    usual_thresholds,
)
from wsss_plugins.refiners import CRITERIA, label_free_threshold, score_histogram
from wsss_plugins.stages import EvaluateLabelStage, EvaluateSeedStage
from wsss_plugins.structures import Seed, load_json, save_label_map
from wsss_plugins.structures.layout import label_path, seed_path

CLASSES = {'a': 'aeroplane', 'b': 'bicycle', 'c': 'aeroplane'}
MASKS = {'a': half_mask(1), 'b': half_mask(2), 'c': half_mask(1)}


@pytest.fixture
def dataset(tmp_path: Path) -> dict:
    root = make_voc(tmp_path / 'data', {name: [c] for name, c in CLASSES.items()})
    masks = dict(label_maps='SegmentationClass', test_mode=True)
    return dict(type='VOC12', data_root=str(root), split='train', **masks)


@pytest.fixture
def seeds(tmp_path: Path) -> dict[str, Seed]:
    """Scores that follow the masks, with noise."""
    rng = np.random.default_rng(0)
    made = {}
    for name, mask in MASKS.items():
        label = int(mask[0, 0])
        scores = 0.5 * (mask == label) + 0.6 * rng.random(mask.shape)
        made[name] = Seed(
            torch.tensor(scores[None], dtype=torch.float32).clamp(0, 1),
            torch.tensor([label - 1]),
        )
        made[name].save(seed_path(tmp_path / 'cam', name))
    return made


def run(stage, tmp_path: Path, source: str) -> tuple[dict, dict, list[dict]]:
    """Metrics, what ``scores.json`` holds, and the rows of ``classes.csv``."""
    out = tmp_path / stage.name
    metrics = stage.run(out, {source: tmp_path / source})
    with (out / 'classes.csv').open(newline='') as file:
        return metrics, load_json(out / 'scores.json'), list(csv.DictReader(file))


def test_seeds(tmp_path: Path, dataset: dict, seeds: dict[str, Seed]) -> None:
    stage = EvaluateSeedStage('score', 'cam', dataset, foreground_share=0.4)
    metrics, scores, rows = run(stage, tmp_path, 'cam')
    sweep = SeedIoU(20, usual_thresholds('acr'))
    for name, seed in seeds.items():
        sweep.update(seed.scores, seed.classes, MASKS[name])
    result = sweep.compute()
    assert metrics['best_miou'] == pytest.approx(result.best_miou, abs=5e-4)
    assert metrics['area_under_curve'] == pytest.approx(
        result.area_under_curve, abs=5e-4
    )
    assert scores['miou'] == result.miou.tolist()
    assert scores['best']['iou'][:2] == pytest.approx(result.best.iou[:2])
    assert [row['class'] for row in rows] == scores['classes']
    assert float(rows[1]['precision']) == pytest.approx(result.best.precision[1])
    assert rows[5]['iou'] == '' and rows[1]['boundary_iou'] == ''


def test_regret_of_thresholds_chosen_without_masks(
    tmp_path: Path, dataset: dict, seeds: dict[str, Seed]
) -> None:
    stage = EvaluateSeedStage('score', 'cam', dataset, foreground_share=0.4)
    metrics, scores, _ = run(stage, tmp_path, 'cam')
    pooled = sum(score_histogram(seed.scores) for seed in seeds.values())
    assert set(scores['label_free']) == set(CRITERIA)
    for criterion, found in scores['label_free'].items():
        threshold = label_free_threshold(pooled, criterion, 0.4)
        assert found['threshold'] == threshold
        nearest = np.abs(np.array(scores['thresholds']) - threshold).argmin()
        assert found['miou'] == scores['miou'][nearest]
        assert found['regret'] == pytest.approx(scores['best_miou'] - found['miou'])
        assert metrics[f'{criterion}_regret'] == pytest.approx(
            found['regret'], abs=5e-4
        )
    assert scores['label_free']['otsu']['regret'] < 10
    # Nothing of it comes from masks: the choice is the same whatever they show.
    for name, mask in MASKS.items():
        path = Path(dataset['data_root']) / f'SegmentationClass/{name}.png'
        save_label_map(path, mask[:, ::-1])
    _, other, _ = run(stage, tmp_path, 'cam')
    for criterion, found in other['label_free'].items():
        assert found['threshold'] == scores['label_free'][criterion]['threshold']
        assert found['miou'] != scores['label_free'][criterion]['miou']


def test_seeds_without_contrast_have_no_label_free_threshold(
    tmp_path: Path, dataset: dict
) -> None:
    for name, mask in MASKS.items():
        flat = torch.full((1, *mask.shape), 0.5)
        Seed(flat, torch.tensor([0])).save(seed_path(tmp_path / 'cam', name))
    stage = EvaluateSeedStage('score', 'cam', dataset)
    metrics, scores, _ = run(stage, tmp_path, 'cam')
    assert scores['label_free'] == {} and 'otsu_regret' not in metrics


def test_labels(tmp_path: Path, dataset: dict) -> None:
    labels = {name: np.roll(mask, 1, 1) for name, mask in MASKS.items()}
    for name, label in labels.items():
        label[label == 255] = 0
        save_label_map(label_path(tmp_path / 'pseudo', name), label)
    stage = EvaluateLabelStage('score', 'pseudo', dataset, convention='irn')
    metrics, scores, rows = run(stage, tmp_path, 'pseudo')
    pairs = [(labels[name], MASKS[name]) for name in MASKS]
    expected = SegmentationScores(
        sum(confusion_matrix(*pair, 21) for pair in pairs),
        'irn',
        type(boundary_counts(*pairs[0], 21))(
            *sum(np.stack(boundary_counts(*pair, 21)) for pair in pairs)
        ),
    )
    assert metrics['miou'] == pytest.approx(expected.miou, abs=5e-4)
    assert metrics['fp_rate'] == pytest.approx(
        expected.mean_false_positive_rate, abs=5e-4
    )
    assert metrics['boundary_miou'] == pytest.approx(expected.boundary_miou, abs=5e-4)
    assert 0 < metrics['boundary_miou'] < metrics['miou'] < 100
    assert scores['over_activation'] == pytest.approx(expected.over_activation)
    assert scores['convention'] == stage.provenance()['convention'] == 'irn'
    assert float(rows[2]['boundary_iou']) == pytest.approx(expected.boundary_iou[2])
    images = load_json(tmp_path / 'score/per_image.json')
    alone = SegmentationScores(confusion_matrix(*pairs[1], 21), 'irn').miou
    assert images['b'] == pytest.approx(alone, abs=5e-3)


@pytest.mark.parametrize('stage', [EvaluateSeedStage, EvaluateLabelStage])
def test_unknown_convention(stage, dataset: dict) -> None:
    with pytest.raises(ConfigError, match=r"'voc'.*Allowed: acr"):
        stage('score', 'cam', dataset, convention='voc')


def test_means_over_some_classes(tmp_path: Path, dataset: dict, seeds) -> None:
    over = dict(mean_over=('bicycle',))
    whole = EvaluateSeedStage('whole', 'cam', dataset)
    part = EvaluateSeedStage('part', 'cam', dataset, **over)
    _, all_scores, _ = run(whole, tmp_path, 'cam')
    metrics, scores, _ = run(part, tmp_path, 'cam')
    assert metrics['classes'] == 2
    assert 'absent_as_0' not in metrics
    best = scores['best']
    assert best['miou'] == pytest.approx((best['iou'][0] + best['iou'][2]) / 2)
    assert metrics['best_miou'] == pytest.approx(max(scores['miou']), abs=5e-4)
    assert scores['miou'] != all_scores['miou']
    assert best['over'] == [0, 2]
    assert part.provenance()['mean over'] == 'background, bicycle'
    for name, mask in MASKS.items():
        save_label_map(label_path(tmp_path / 'pseudo', name), np.where(mask, 2, 0))
    labels = EvaluateLabelStage('labels', 'pseudo', dataset, convention='seam', **over)
    metrics, scores, _ = run(labels, tmp_path, 'pseudo')
    # Pixels of an aeroplane that are taken for a bicycle are the bicycle's errors.
    assert metrics['miou'] == pytest.approx(
        (scores['iou'][0] + scores['iou'][2]) / 2, abs=1e-3
    )
    assert metrics['fp_rate'] == pytest.approx(
        scores['false_positive_rate'][2], abs=1e-3
    )
    assert metrics['fn_rate'] == pytest.approx(
        scores['false_negative_rate'][2], abs=1e-3
    )
    assert scores['false_positive_rate'][2] > 100


@pytest.mark.parametrize('stage', [EvaluateSeedStage, EvaluateLabelStage])
def test_means_over_an_unknown_class(
    stage, tmp_path: Path, dataset: dict, seeds
) -> None:
    for name, mask in MASKS.items():
        save_label_map(label_path(tmp_path / 'cam', name), mask)
    with pytest.raises(ConfigError, match=r"'bicicle', which is no class.*bicycle"):
        stage('s', 'cam', dataset, mean_over=('bicicle',)).run(
            tmp_path / 's', dict(cam=tmp_path / 'cam')
        )
