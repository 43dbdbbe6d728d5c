"""Average precision against its definition, threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wsss_plugins.errors import DataError
from wsss_plugins.metrics import MultiLabelAP, average_precision


def reference_ap(scores: np.ndarray, targets: np.ndarray) -> float:
    """Every distinct score as a threshold, from the highest to the lowest."""
    total, last_recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = [t for s, t in zip(scores, targets, strict=True) if s >= threshold]
        precision = sum(chosen) / len(chosen)
        recall = sum(chosen) / targets.sum()
        total += (recall - last_recall) * precision
        last_recall = recall
    return total


@pytest.mark.parametrize('levels', [2, 5, 1000])
@pytest.mark.parametrize('seed', range(5))
def test_matches_the_definition(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, 40) / levels - 0.5
    targets = (rng.random(40) < 0.3).astype(int)
    found = average_precision(scores, targets)
    assert found == pytest.approx(reference_ap(scores, targets), abs=1e-12)


def test_matches_sklearn() -> None:
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(0)
    scores, targets = rng.integers(0, 9, 200) / 9, rng.random(200) < 0.3
    expected = metrics.average_precision_score(targets, scores)
    assert average_precision(scores, targets) == pytest.approx(expected, abs=1e-12)


def test_by_hand() -> None:
    assert average_precision([0.9, 0.8, 0.7, 0.1], [1, 0, 1, 0]) == (1 + 2 / 3) / 2
    assert average_precision([1, 2, 3], [0, 1, 1]) == 1
    assert np.isnan(average_precision([0.3, 0.4], [0, 0]))


def test_equal_scores_give_the_share_of_positives_in_any_order() -> None:
    for targets in ([1, 0, 0, 0], [0, 0, 0, 1]):
        assert average_precision([0.5] * 4, targets) == 0.25


@pytest.mark.parametrize('score', [np.nan, np.inf])
def test_scores_that_are_not_finite(score: float) -> None:
    with pytest.raises(DataError, match='not finite: the training diverged'):
        average_precision([0.1, score], [0, 1])


def test_shapes_that_differ() -> None:
    with pytest.raises(DataError, match=r'not \(2,\) and \(3,\)'):
        average_precision([0.1, 0.2], [0, 1, 1])


def samples() -> list[dict]:
    """Class 0: AP 5/6; class 1: no positive; class 2: AP 1/3."""
    scores = torch.tensor([[0.9, 0.5, 0.9], [0.8, 0.4, 0.8], [0.7, 0.3, 0.7]])
    labels = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 0, 1]])
    return [dict(pred_score=s, gt_label=t) for s, t in zip(scores, labels, strict=True)]


def test_mean_is_over_the_classes_with_positives() -> None:
    metric = MultiLabelAP()
    metric.process(None, samples())
    found = metric.evaluate(3)
    mean = pytest.approx(100 * (5 / 6 + 1 / 3) / 2)
    assert found == {
        'multilabel/mAP': mean,
        'multilabel/classes': 2,
        'multilabel/images': 3,
    }


def test_per_class_results_carry_the_names_of_the_data_set() -> None:
    metric = MultiLabelAP(per_class=True, prefix='val')
    metric.dataset_meta = dict(classes=('bird', 'cat', 'dog'))
    metric.process(None, samples())
    found = metric.evaluate(3)
    counts = {'val/classes', 'val/images'}
    assert set(found) == {'val/mAP', 'val/AP/bird', 'val/AP/dog'} | counts
    assert found['val/AP/bird'] == pytest.approx(500 / 6)


def test_padding_of_the_last_batch_is_dropped() -> None:
    metric = MultiLabelAP()
    metric.process(None, [*samples(), samples()[1]])
    padded = metric.evaluate(3)
    metric.process(None, samples())
    assert padded == metric.evaluate(3)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    metric = MultiLabelAP()
    metric.process(
        None, [dict(s, pred_score=s['pred_score'].to(dtype)) for s in samples()]
    )
    assert metric.evaluate(3)['multilabel/mAP'] == pytest.approx(100 * 7 / 12)


def test_no_positive_at_all_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    name = 'wsss_plugins.metrics.multilabel_ap.print_log'
    monkeypatch.setattr(name, lambda text, **_: said.append(text))
    metric = MultiLabelAP()
    metric.process(None, [dict(pred_score=np.ones(2), gt_label=np.zeros(2))])
    assert metric.evaluate(1) == {}
    assert 'mAP is not measured: none of the 1 images' in said[0]


def test_images_of_different_classes() -> None:
    metric = MultiLabelAP()
    metric.process(None, [dict(pred_score=np.ones(3), gt_label=np.ones(2))])
    with pytest.raises(DataError, match='must be of the same classes'):
        metric.evaluate(1)
