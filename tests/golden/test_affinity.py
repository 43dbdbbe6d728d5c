"""AffinityNet of PSA: confident scores, labels of a crop, affinities, loss, gradient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from wsss_plugins.affinity import feature_affinities, pair_indices, pair_labels
from wsss_plugins.datasets import FolderWSSS, PoolConfidentLabels
from wsss_plugins.losses import AffinityLoss
from wsss_plugins.refiners import DenseCRF, PowerBackground
from wsss_plugins.stages import ConfidentLabelStage
from wsss_plugins.structures import Seed, load_label_map, load_npz


def of_case(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
    }


def affinities_of(case: dict[str, np.ndarray], features: torch.Tensor) -> torch.Tensor:
    source, target = pair_indices(*features.shape[-2:], 5, 'psa')
    assert np.array_equal(source, case['ind_from'])
    assert np.array_equal(target, case['ind_to'])
    return feature_affinities(features, 5).flatten(2)[..., source]


@pytest.mark.parametrize('prefix', ['sq_', 'rect_'])
def test_affinities(golden, prefix: str) -> None:
    case = of_case(golden('psa_affinity_loss'), prefix)
    features = F.elu(torch.from_numpy(case['pre_elu_features']).double())
    np.testing.assert_allclose(affinities_of(case, features), case['aff'], atol=2e-7)


def test_loss_and_gradient(golden) -> None:
    case = of_case(golden('psa_affinity_loss'), 'sq_')
    leaf = torch.from_numpy(case['pre_elu_features']).double().requires_grad_()
    kinds = [torch.from_numpy(case[name]) for name in ('bg_pos', 'fg_pos', 'neg')]
    counts = [kind.sum().item() + 1e-5 for kind in kinds]
    np.testing.assert_allclose(counts, case['counts'], rtol=1e-6)
    affinities = affinities_of(case, F.elu(leaf))
    for weights in ((1, 1, 1), (0.25, 0.25, 0.5)):
        losses = AffinityLoss(*weights)(affinities, *kinds)
        for name, weight in zip(('bg', 'fg', 'neg'), weights, strict=True):
            wanted = weight * case[f'{name}_loss']
            np.testing.assert_allclose(losses[f'loss_{name}'].item(), wanted, rtol=1e-6)
    total = sum(losses.values())
    np.testing.assert_allclose(total.item(), case['loss'], rtol=1e-6)
    total.backward()
    scale = np.abs(case['grad_pre_elu']).max()
    np.testing.assert_allclose(
        leaf.grad / scale, case['grad_pre_elu'] / scale, atol=1e-6
    )


@pytest.mark.parametrize('prefix', ['pad_', 'crop_'])
@pytest.mark.parametrize('stored', [False, True], ids=['float', 'bytes'])
def test_labels_of_a_crop(golden, prefix: str, stored: bool) -> None:
    """PSA's crop, flip, pooling and law; bytes are what a ConfidentLabelStage keeps."""
    case = of_case(golden('psa_affinity_dataset'), prefix)
    scores = np.concatenate([case['la'], case['ha']]).transpose(1, 2, 0)
    if stored:
        scores = np.rint(scores * 255).astype(np.float32) / 255
    crop = int(case['crop'])
    height, width = (min(side, crop) for side in scores.shape[:2])
    top, left = int(case['cont_top']), int(case['cont_left'])
    y, x = int(case['img_top']), int(case['img_left'])
    canvas = np.zeros((crop, crop, scores.shape[2]), np.float32)
    canvas[top : top + height, left : left + width] = scores[
        y : y + height, x : x + width
    ]
    if case['flip']:
        canvas = canvas[:, ::-1]
    label = PoolConfidentLabels(8).transform(dict(gt_seg_map=canvas))['gt_seg_map']
    assert np.array_equal(label, case['label_map'])
    kinds = pair_labels(torch.from_numpy(label), 5, 'psa')
    for kind, name in zip(kinds, ('bg_pos', 'fg_pos', 'neg'), strict=True):
        assert np.array_equal(kind, case[name])


@pytest.mark.parametrize('prefix', ['one_', 'two_'])
def test_confident_scores(golden, tmp_path: Path, prefix: str) -> None:
    """The stage's scores are PSA's, rounded to bytes; its labels follow its law."""
    case = of_case(golden('psa_alpha_crf'), prefix)
    classes = [f'c{i:02d}' for i in range(20)]
    (tmp_path / 'images').mkdir()
    Image.fromarray(case['image']).save(tmp_path / 'images/a.png')
    tags = ';'.join(classes[k] for k in case['keys'])
    (tmp_path / 'all.csv').write_text(f'file,tags\na.png,{tags}\n')
    cams = torch.from_numpy(case['cams'])
    Seed(cams, torch.from_numpy(case['keys'])).save(tmp_path / 'cam/seeds/a.npz')
    dataset = dict(type=FolderWSSS, data_root=tmp_path, split='all', classes=classes)
    background = dict(type=PowerBackground, normalise=False)
    stage = ConfidentLabelStage(
        'confident', 'cam', dataset, 4, 32, [background, dict(type=DenseCRF)], workers=1
    )
    out = tmp_path / 'confident'
    assert stage.run(out, {'cam': tmp_path / 'cam'}) == dict(images=1, failed=0)
    kept = load_npz(out / 'scores/a.npz')
    assert np.array_equal(kept['classes'], case['keys'])
    low, high = case['crf_alpha4'], case['crf_alpha32']
    for ours, wanted in ((kept['low'], low), (kept['high'], high)):
        assert ours.dtype == np.uint8
        np.testing.assert_allclose(ours / 255, wanted, atol=0.5 / 255 + 1e-4)
    ids = case['out_keys']
    wanted = np.where(low.argmax(0) == 0, 255, ids[low.argmax(0)])
    wanted[high.argmax(0) == 0] = 0
    label = load_label_map(out / 'labels/a.png')
    assert np.mean(label == wanted) >= 0.9999
    assert {0, 255, *ids} == set(np.unique(label)), 'every case occurs'
