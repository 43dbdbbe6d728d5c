"""The metrics of the released transformer-attribution code, array by array.

Each test names the arrays it compares; two tests check that no array is left out.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from wsss_plugins.metrics import (
    ExplanationSegmentation,
    Perturbation,
    area_under_curve,
    average_precision,
    class_counts,
    confusion_matrix,
    f1_score,
    iou_per_class,
    mean_iou,
    normalise_map,
    perturbed_logits,
    precision_recall,
    resize_map,
    segmentation_ap,
)

EXACT = dict(rtol=1e-14, atol=1e-15)
INPUTS = {
    *('seg/maps14', 'seg/labels224', 'segfull/maps224_div8', 'segfull/label_index'),
    *('fn/score', 'fn/label', 'fn/label_ignore', 'fn/hard', 'fn5/score', 'fn5/label'),
    'seg_no_const/pr_curve_index',
}
SEG = ('correct', 'labeled', 'inter', 'union', 'ap', 'f1_rowwise_mean')
TOTALS = ('pixAcc', 'IoU', 'mIoU', 'mAp', 'mF1')
FN = {
    *(f'fn/{n}/batch_pix_accuracy' for n in ('label', 'label_ignore')),
    *(f'fn/{n}/batch_intersection_union' for n in ('label', 'label_ignore')),
    *(f'fn/{n}/get_ap_scores' for n in ('label', 'label_ignore')),
    *('fn/get_f1_scores_batchHxW', 'fn/get_f1_scores_rows_of_image0'),
    *('fn/get_iou', 'fn/get_ap_multiclass', 'fn/batch_precision_recall_thr0.5'),
    *('fn/pixel_accuracy', 'fn/IoU_class', 'fn/IoU_class_mean', 'fn/IoU_confusion'),
    *('fn/get_pr_image0_precision', 'fn/get_pr_image0_recall'),
    *('fn/get_roc_image0_fpr', 'fn/get_roc_image0_tpr'),
    *('fn5/batch_pix_accuracy', 'fn5/batch_intersection_union'),
    'fn5/intersection_and_union',
}
CURVE = ('len', 'precision', 'recall')
SEG_COMPARED = {
    *(f'{group}/{key}' for group in ('seg', 'segfull') for key in SEG + TOTALS),
    *(f'seg_no_const/{key}' for key in TOTALS),
    *(f'seg_no_const/pr_curve_{key}' for key in CURVE),
    *('seg/pred_subsampled_stride8', 'seg_no_const/pooled_AP_derived'),
    *FN,
}


@pytest.fixture(scope='module')
def seg(golden):
    return golden('metrics_seg')


def seg_images(seg, group):
    """Float32 maps at label resolution, and labels: in this dtype they were made."""
    labels = seg['seg/labels224'].astype(np.int64)
    if group == 'segfull':
        maps = seg['segfull/maps224_div8'].repeat(8, 1).repeat(8, 2)
        return list(zip(maps, labels[seg['segfull/label_index']], strict=True))
    kept = [i for i in range(6) if group == 'seg' or i != 4]
    maps = [resize_map(seg['seg/maps14'][i], (224, 224)) for i in kept]
    return list(zip(maps, labels[kept], strict=True))


def evaluated(images):
    metric = ExplanationSegmentation()
    for relevance, label in images:
        metric.update(relevance, label)
    return metric


@pytest.mark.parametrize('key', SEG)
@pytest.mark.parametrize('group', ['seg', 'segfull'])
def test_lrp_seg_per_image(seg, group, key):
    rows = evaluated(seg_images(seg, group)).state()
    counts = class_counts(rows['confusion'])
    found = dict(
        correct=counts.true_positives.sum(-1),
        labeled=counts.target.sum(-1),
        inter=counts.true_positives,
        union=counts.union,
        ap=rows['average_precision'],
        f1_rowwise_mean=rows['row_f1'],
    )
    np.testing.assert_allclose(found[key], seg[f'{group}/{key}'], **EXACT)


@pytest.mark.parametrize('key', TOTALS)
@pytest.mark.parametrize('group', ['seg', 'seg_no_const', 'segfull'])
def test_lrp_seg_totals(seg, group, key):
    scores = evaluated(seg_images(seg, group)).compute()
    found = dict(
        pixAcc=scores.segmentation.pixel_accuracy,
        IoU=scores.segmentation.iou,
        mIoU=scores.segmentation.miou,
        mAp=scores.mean_ap,
        mF1=scores.mean_row_f1,
    )
    expected = 100 * seg[f'{group}/{key}']
    np.testing.assert_allclose(found[key], expected, rtol=1e-14)
    assert scores.blank == (group == 'seg')  # image 4 is constant


def test_lrp_seg_pred_subsampled_stride8(seg):
    maps = [normalise_map(m)[::8, ::8] for m, _ in seg_images(seg, 'seg')]
    expected = seg['seg/pred_subsampled_stride8']
    assert np.isnan(expected[4]).all() and not np.isnan(np.delete(expected, 4, 0)).any()
    np.testing.assert_array_equal(maps, expected)


def exact_curve(scores, targets):
    """Precision and recall at every distinct score, and how many each has."""
    found, place = np.unique(scores, return_inverse=True)
    counts = np.stack(
        [np.bincount(place[targets == t], minlength=len(found)) for t in (0, 1)]
    )
    return *precision_recall(counts), counts


def test_lrp_seg_no_const_pr_curve(seg):
    """pr_curve_len, pr_curve_precision, pr_curve_recall, pooled_AP_derived."""
    images = seg_images(seg, 'seg_no_const')
    scores = np.concatenate([normalise_map(m).ravel() for m, _ in images])
    targets = np.concatenate([label.ravel() for _, label in images])
    precision, recall, _ = exact_curve(scores, targets)
    index = seg['seg_no_const/pr_curve_index']
    assert len(precision) == seg['seg_no_const/pr_curve_len']
    for key, found in (('precision', precision), ('recall', recall)):
        expected = seg[f'seg_no_const/pr_curve_{key}']
        np.testing.assert_allclose(found[index], expected, **EXACT)
    pooled = seg['seg_no_const/pooled_AP_derived']
    np.testing.assert_allclose(
        -(np.diff(recall) * precision[:-1]).sum(), pooled, rtol=1e-12
    )
    # What the metric keeps are points of this curve, exactly.
    kept = evaluated(images).compute()
    points = np.searchsorted(np.unique(scores), np.arange(257) / 256)
    np.testing.assert_allclose(kept.precision[:-1], precision[points], **EXACT)
    np.testing.assert_allclose(kept.recall[:-1], recall[points], **EXACT)
    assert kept.pooled_ap == pytest.approx(100 * pooled, abs=0.1)


def test_lrp_seg_pooled_curve_with_a_constant_map(seg):
    kept = evaluated(seg_images(seg, 'seg')).compute()  # the original raises
    assert np.isfinite(kept.precision).all() and np.isfinite(kept.recall).all()


def stacked_confusion(prediction, label, classes=2):
    return np.stack(
        [
            confusion_matrix(p, t, classes, -1)
            for p, t in zip(prediction, label, strict=True)
        ]
    )


def confusions(seg):
    hard, label = seg['fn/hard'].astype(int), seg['fn/label']
    argmax = seg['fn/score'].argmax(1)
    return dict(
        label=stacked_confusion(argmax, label),
        label_ignore=stacked_confusion(argmax, seg['fn/label_ignore']),
        hard=stacked_confusion(hard, label),
        five=stacked_confusion(seg['fn5/score'].argmax(1), seg['fn5/label'], 5),
    )


def fn_curve(seg):
    one_hot = np.stack([seg['fn/label'][0] == c for c in (0, 1)])
    return exact_curve(seg['fn/score'][0].ravel(), one_hot.ravel())


def roc(counts):
    """False and true positive rates as scikit-learn thins them.

    From the highest score on; the first and last and those where the curve turns,
    then (0, 0) in front.
    """
    rates = counts[:, ::-1].cumsum(1)
    turns = np.any(np.diff(rates, 2) != 0, axis=0)
    kept = np.concatenate([[True], turns, [True]])
    return np.append([[0], [0]], (rates / rates[:, -1:])[:, kept], 1)


def found_fn(seg):
    """What here stands for every direct call of the original's small functions."""
    matrices = confusions(seg)
    counts = {key: class_counts(matrix) for key, matrix in matrices.items()}
    areas = {
        key: np.stack([count.true_positives, count.union], 1)
        for key, count in counts.items()
    }
    pixels = {
        key: np.stack([count.true_positives.sum(-1), count.target.sum(-1)], 1)
        for key, count in counts.items()
    }
    score, label, hard = seg['fn/score'], seg['fn/label'], counts['hard']
    foreground = seg['fn/hard'] == 1
    pair = list(zip(foreground, label, strict=True))
    hits = hard.true_positives[:, 1]
    total = matrices['label'].sum(0)
    precision, recall, curve = fn_curve(seg)
    false_rate, true_rate = roc(curve)
    names = ('label', 'label_ignore')
    aps = {
        f'fn/{key}/get_ap_scores': [
            segmentation_ap(s, t) for s, t in zip(score, seg[f'fn/{key}'], strict=True)
        ]
        for key in names
    }
    return {
        **{f'fn/{key}/batch_pix_accuracy': pixels[key] for key in names},
        **{f'fn/{key}/batch_intersection_union': areas[key] for key in names},
        **aps,
        'fn/get_f1_scores_batchHxW': [f1_score(p, t) for p, t in pair],
        'fn/get_f1_scores_rows_of_image0': f1_score(*pair[0], by_row=True),
        'fn/get_iou': (hits + 1e-6) / (hard.union[:, 1] + 1e-6),
        'fn/get_ap_multiclass': [
            average_precision(s[1].ravel(), t.ravel())
            for s, t in zip(score, label, strict=True)
        ],
        'fn/batch_precision_recall_thr0.5': np.stack(
            [hits / hard.predicted[:, 1], hits / hard.target[:, 1]], 1
        ),
        'fn/pixel_accuracy': np.stack([hits, hard.target[:, 1]], 1),
        'fn/IoU_class': iou_per_class(total),
        'fn/IoU_class_mean': mean_iou(total),
        'fn/IoU_confusion': total,
        'fn/get_pr_image0_precision': precision,
        'fn/get_pr_image0_recall': recall,
        'fn/get_roc_image0_fpr': false_rate,
        'fn/get_roc_image0_tpr': true_rate,
        'fn5/batch_pix_accuracy': pixels['five'],
        'fn5/batch_intersection_union': areas['five'],
        'fn5/intersection_and_union': areas['five'],
    }


@pytest.mark.parametrize('key', sorted(FN))
def test_lrp_fn(seg, key):
    float32 = seg[key].dtype == np.float32
    tolerance = dict(rtol=1e-7) if float32 else EXACT
    np.testing.assert_allclose(found_fn(seg)[key], seg[key], **tolerance)


def test_lrp_seg_every_array_is_compared(seg):
    assert SEG_COMPARED.isdisjoint(INPUTS) and set(seg) == SEG_COMPARED | INPUTS


# --- perturbation -------------------------------------------------------------------

PER_IMAGE = {
    'model_hits': 'hits',
    'model_dissimilarities': 'dissimilarity',
    'perturbations_hits': 'hits',
    'perturbations_dissimilarities': 'dissimilarity',
    'perturbations_logit_diff': 'logit_difference',
    'perturbations_prob_diff': 'probability_difference',
}
DERIVED = (
    'mean_hits_per_step',
    'derived_auc_trapz_10pts_dx0.1',
    'derived_auc_trapz_9pts_dx0.1',
    'derived_mean_9pts',
)
SIGNS = ['pos_per', 'neg_per']


@pytest.fixture(scope='module')
def perturbation(golden):
    arrays = golden('metrics_perturbation')
    config = json.loads(str(arrays['config']))
    keys = (
        'img_size patch_size num_classes embed_dim depth num_heads mlp_ratio qkv_bias'
    )
    network = VisionTransformer(**{key: config[key] for key in keys.split()})
    weights = {
        key.removeprefix('weights/'): torch.from_numpy(value)
        for key, value in arrays.items()
        if key.startswith('weights/')
    }
    network.load_state_dict(weights, strict=True)
    network.double().eval()
    logits = perturbed_logits(
        network,
        torch.from_numpy(arrays['images01']).double(),
        torch.from_numpy(arrays['vis'])[:, 0],
        normalise=lambda images: (images - 0.5) / 0.5,
        batch_size=50,
    )
    metric = Perturbation()
    metric.update(logits, torch.from_numpy(arrays['target']))
    return arrays, logits, metric


def test_lrp_perturbation_pred_logits(perturbation):
    arrays, logits, _ = perturbation
    np.testing.assert_allclose(logits[:, 0, 0], arrays['pred_logits'], atol=5e-6)


@pytest.mark.parametrize('key', PER_IMAGE)
@pytest.mark.parametrize('sign', SIGNS)
def test_lrp_perturbation_per_image(perturbation, sign, key):
    """In float64; the golden was computed in float32, hence 5e-6."""
    arrays, _, metric = perturbation
    rows = metric.state()[PER_IMAGE[key]][:, SIGNS.index(sign)]
    found = rows[:, 0] if key.startswith('model') else rows[:, 1:].T
    np.testing.assert_allclose(found, arrays[f'{sign}/{key}'], rtol=0, atol=5e-6)
    assert found.dtype != bool or np.array_equal(found, arrays[f'{sign}/{key}'])


@pytest.mark.parametrize('key', DERIVED)
@pytest.mark.parametrize('sign', SIGNS)
def test_lrp_perturbation_derived(perturbation, sign, key):
    arrays, _, metric = perturbation
    scores, row = metric.compute(), SIGNS.index(sign)
    levels = scores.accuracy[row, 1:]
    found = {
        'mean_hits_per_step': levels,
        'derived_auc_trapz_10pts_dx0.1': scores.auc[row],
        'derived_auc_trapz_9pts_dx0.1': area_under_curve(levels, 0.1),
        'derived_mean_9pts': levels.mean(),
    }
    np.testing.assert_allclose(found[key], 100 * arrays[f'{sign}/{key}'], rtol=1e-14)


def test_lrp_perturbation_every_array_is_compared(perturbation):
    arrays = perturbation[0]
    inputs = {'config', 'images01', 'vis', 'target'}
    compared = {f'{sign}/{key}' for sign in SIGNS for key in (*PER_IMAGE, *DERIVED)}
    rest = {key for key in arrays if not key.startswith('weights/')}
    assert rest == inputs | compared | {'pred_logits'}
