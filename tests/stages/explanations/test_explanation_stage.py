"""Tests of explanations: their numbers, resumption, and photos that are damaged."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explaining import HEADS, KINDS, OBJECTS, config, run, write_photos
from imagenet_trees import TENCH, make_imagenet_seg, save_tiny_vit
from mmengine.config import Config
from PIL import Image

from wsss_plugins.classifiers import TimmClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import DataError
from wsss_plugins.experiment import Pipeline
from wsss_plugins.metrics import (
    ExplanationSegmentation,
    InsertionDeletion,
    Perturbation,
    insertion_deletion_probabilities,
    perturbed_logits,
)
from wsss_plugins.registry import DATASETS, build_as
from wsss_plugins.stages.explanations.attribution import target_classes
from wsss_plugins.structures import load_json


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    return save_tiny_vit(tmp_path / 'vit.safetensors')


def results(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob('*'))
        if path.suffix in ('.md', '.csv', '.json')
    }


# Numbers ------------------------------------------------------------------------------


def photos_of(root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All photos ``(N, 3, 32, 32)`` in [0, 1] and their labels."""
    data = build_as(DATASETS, config(KINDS[1], root, {})['dataset'], WSSSDataset)
    photos = [
        Image.fromarray(data.load_image(i)).resize((32, 32), Image.Resampling.BILINEAR)
        for i in range(len(data))
    ]
    pixels = np.stack([np.array(p) for p in photos]).transpose(0, 3, 1, 2)
    labels = np.stack([data.labels(i) for i in range(len(data))])
    return torch.tensor(pixels / 255, dtype=torch.float32), torch.tensor(labels)


def maps_of(head: str, model: TimmClassifier, images: Any, classes: Any) -> Any:
    """One map of every image, one at a time."""
    found = []
    for image, c in zip(images, classes, strict=True):
        label = torch.eye(20)[[int(c)]]
        one = HEADS[head]().signed_maps(
            model, model.normalise(image[None] * 255), label
        )
        found.append(one[0, int(c)][None])
    size = images.shape[-2:]
    return torch.nn.functional.interpolate(torch.stack(found), size, mode='bilinear')[
        :, 0
    ]


def build_model(cfg: dict[str, Any]) -> TimmClassifier:
    return TimmClassifier(**{k: v for k, v in cfg.items() if k != 'type'}).eval()


@pytest.mark.parametrize('explained', ['predicted', 'target'])
@pytest.mark.parametrize('foreground', ['any', 'class'])
def test_segmentation_is_that_of_one_image_at_a_time(
    root, model, tmp_path, explained, foreground
) -> None:
    out = tmp_path / 'out'
    choice = dict(explained=explained, foreground=foreground)
    numbers = run(out, KINDS[0], root, model, **choice)
    images, labels = photos_of(root)
    classifier = build_model(model)
    logits = classifier(classifier.normalise(images * 255))['class']
    classes = logits.argmax(1)
    assert len(set(classes.tolist())) > 1
    if explained == 'target':
        classes = (logits - 1e6 * (1 - labels)).argmax(1)
    scores = load_json(out / 'scores.json')
    for head in HEADS:
        metric = ExplanationSegmentation()
        maps = maps_of(head, classifier, images, classes)
        for i, name in enumerate(OBJECTS):
            with Image.open(root / f'SegmentationClass/{name}.png') as mask:
                mask = np.array(mask.resize((32, 32), Image.Resampling.NEAREST))
            shown = mask == int(classes[i]) + 1 if foreground == 'class' else mask > 0
            metric.update(maps[i].numpy(), np.where(mask == 255, -1, shown.astype(int)))
        expected = metric.compute().to_dict()
        for key in ('pixel_accuracy', 'miou', 'mean_ap', 'mean_f1'):
            assert scores[head][key] == pytest.approx(expected[key], abs=0.15), key
        assert numbers[f'{head}_miou'] == round(scores[head]['miou'], 3)
    assert numbers['images'] == 7 and numbers['failed'] == 0


def test_perturbation_is_that_of_one_image_at_a_time(root, model, tmp_path) -> None:
    out = tmp_path / 'out'
    numbers = run(out, KINDS[1], root, model)
    images, labels = photos_of(root)
    classifier = build_model(model)
    with torch.no_grad():
        logits = classifier(classifier.normalise(images * 255))['class']
    target = (logits - 1e6 * (1 - labels)).argmax(1)
    classes = dict(predicted=logits.argmax(1), target=target)
    assert (classes['predicted'] != target).any()
    scores = load_json(out / 'scores.json')
    for head in HEADS:
        for which, chosen in classes.items():
            metric = Perturbation()
            maps = maps_of(head, classifier, images, chosen)
            for i in range(len(images)):
                found = perturbed_logits(
                    lambda x: classifier.class_logits(classifier.backbone(x)),
                    images[[i]],
                    maps[[i]],
                    normalise=lambda x: classifier.normalise(x * 255),
                )
                metric.update(found, target[[i]])
            expected = metric.compute().to_dict()
            for sign in ('positive', 'negative'):
                mine = scores[head][which][sign]
                # A pixel of the same relevance may go first: not all levels agree.
                np.testing.assert_allclose(
                    mine['logit_difference'],
                    expected[sign]['logit_difference'],
                    atol=0.05,
                )
                assert mine['auc'] == pytest.approx(expected[sign]['auc'], abs=1)
    predicted = scores['rollout']['predicted']
    assert predicted == scores['rollout']['target'], 'it does not tell classes apart'
    assert scores['grad_cam']['predicted'] != scores['grad_cam']['target']
    assert numbers['lrp_positive'] == round(
        scores['lrp']['predicted']['positive']['auc'], 3
    )


def test_tables(root, model, tmp_path) -> None:
    for kind in KINDS:
        out = tmp_path / kind
        run(out, kind, root, model)
        scores = load_json(out / 'scores.json')
        lines = (out / 'table.md').read_text().splitlines()
        with (out / 'table.csv').open(newline='') as file:
            rows = list(csv.DictReader(file))
        assert [line.split(' | ')[0] for line in lines[2:]] == [f'| {h}' for h in HEADS]
        if kind == KINDS[0]:
            assert lines[0].startswith('| method | pixel accuracy | mAP | mIoU |')
            assert float(rows[1]['miou']) == scores['grad_cam']['miou']
            assert f' {scores["grad_cam"]["miou"]:.2f} ' in lines[3]
            continue
        assert lines[0].split(' | ')[1] == 'negative, predicted'
        assert len(rows) == 12
        last = scores['lrp']['target']['positive']
        which = (rows[-1]['perturbation'], rows[-1]['explained'])
        assert which == ('positive', 'target')
        assert float(rows[-1]['auc']) == last['auc']
        assert float(rows[-1]['accuracy_0.3']) == last['accuracy'][3]
        assert f' {last["auc"]:.2f} |' in lines[-1]


def test_insertion_and_deletion(root, model, tmp_path) -> None:
    out, kind = tmp_path / 'out', 'InsertionDeletionTestStage'
    numbers = run(out, kind, root, model, steps=4)
    images, _ = photos_of(root)
    classifier = build_model(model)
    with torch.no_grad():
        logits = classifier(classifier.normalise(images * 255))['class']
    classes, metric = logits.argmax(1), InsertionDeletion(4)
    metric.update(
        insertion_deletion_probabilities(
            lambda x: classifier(classifier.normalise(x * 255))['class'],
            images,
            maps_of('grad_cam', classifier, images, classes),
            classes,
            normalise=lambda x: x,
            steps=4,
            fill=(classifier.data_preprocessor.mean.flatten() / 255).tolist(),
        )
    )
    expected, found = metric.compute(), load_json(out / 'scores.json')['grad_cam']
    np.testing.assert_allclose(found['insertion'], expected.insertion, atol=2e-3)
    np.testing.assert_allclose(found['deletion'], expected.deletion, atol=2e-3)
    certainty = logits.softmax(1).amax(1).mean().item()
    assert found['insertion'][-1] == pytest.approx(certainty, rel=1e-3)
    assert found['deletion'][0] == pytest.approx(certainty, rel=1e-3)
    auc = 100 * expected.deletion_auc
    assert numbers['grad_cam_deletion'] == pytest.approx(auc, abs=0.2)
    lines = (out / 'table.md').read_text().splitlines()
    assert lines[0] == '| method | insertion | deletion |' and len(lines) == 5


def test_target_of_several_labels_is_the_surest() -> None:
    logits = torch.tensor([[5.0, 1, 2, 3], [1, 2, 3, 0], [0, 1, 0, 2]])
    labels = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    assert target_classes(logits, labels).tolist() == [2, 1, 3]


def test_masks_of_imagenet_segmentation(model, tmp_path) -> None:
    make_imagenet_seg(
        tmp_path / 'seg/gtsegs_ijcv.mat', dict(x=TENCH, y=TENCH), size=(20, 28)
    )
    data = dict(type='ImageNetSeg', data_root=str(tmp_path / 'seg'), label_maps='gt')
    numbers = run(tmp_path / 'out', KINDS[0], tmp_path, model, dataset=data)
    assert numbers['images'] == 2 and 0 < numbers['rollout_miou'] < 100


# Resumption ---------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_goes_on_where_it_was_killed(root, model, tmp_path, monkeypatch, kind) -> None:
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    numbers = run(whole, kind, root, model)
    assert len(list((whole / 'parts').iterdir())) == 3
    replace = Path.replace

    def die_at_the_second(self: Path, target: Path) -> Path:
        if Path(target).name == '0000003.npz':
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run(out, kind, root, model)
    there = {p.name for p in (out / 'parts').iterdir()}
    assert {'0000000.npz'} <= there <= {'0000000.npz', '0000006.npz'}
    seen = []
    load = WSSSDataset.load_image
    monkeypatch.setattr(
        WSSSDataset, 'load_image', lambda *given: seen.append(given[-1]) or load(*given)
    )
    assert run(out, kind, root, model) == numbers
    assert sorted(seen) == [3, 4, 5] + [6] * (len(there) == 1)
    assert results(out) == results(whole)


def test_a_damaged_photo_is_counted_and_the_run_goes_on(
    root, model, tmp_path, capsys
) -> None:
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    run(whole, KINDS[1], root, model)
    photo = root / 'JPEGImages/e.jpg'
    content = photo.read_bytes()
    photo.write_bytes(content[:200])
    numbers = run(out, KINDS[1], root, model)
    assert (numbers['images'], numbers['failed']) == (7, 1)
    said = capsys.readouterr().err
    assert f'e left out: image {photo} cannot be decoded' in said
    assert list(load_json(out / 'failures.json')) == ['e']
    assert load_json(out / 'scores.json')['lrp']['target']['positive']
    assert load_json(out / 'scores.json')['lrp']['target']['images'] == 6
    names = sorted(p.name for p in (out / 'parts').iterdir())
    assert names == ['0000000.npz', '0000003_not_whole.npz', '0000006.npz']
    photo.write_bytes(content)
    assert run(out, KINDS[1], root, model)['failed'] == 0
    assert results(out) == results(whole)
    assert len(list((out / 'parts').iterdir())) == 3


def test_a_batch_of_damaged_photos_only(root, model, tmp_path) -> None:
    out, folder = tmp_path / 'out', root / 'JPEGImages'
    (folder / 'd.jpg').unlink()
    assert run(out, KINDS[0], root, model)['failed'] == 1
    (folder / 'e.jpg').unlink(), (folder / 'f.jpg').unlink()
    numbers = run(out, KINDS[0], root, model)
    assert (numbers['images'], numbers['failed']) == (7, 3)
    assert load_json(out / 'scores.json')['rollout']['images'] == 4
    assert len(list((out / 'parts').iterdir())) == 2


def test_strict_stops(root, model, tmp_path) -> None:
    (root / 'JPEGImages/c.jpg').write_text('no photo')
    (tmp_path / 'mine.py').touch()
    stages = [config(KINDS[0], root, model)]
    cfg = Config(dict(pipeline=stages), filename=str(tmp_path / 'mine.py'))
    with pytest.raises(DataError, match=r"stage 'test': 1 .*images failed, listed in"):
        Pipeline(cfg, strict=True).run(tmp_path / 'work')
    records = Pipeline(cfg).run(tmp_path / 'work')
    assert records['test'].metrics['failed'] == 1
    assert records['test'].provenance['methods'] == list(HEADS)
