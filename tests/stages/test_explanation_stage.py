"""Tests of explanations: numbers, resumption, and what is wrong with data or models."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from imagenet_trees import TENCH, make_imagenet_seg, save_tiny_vit
from mmengine.config import Config
from PIL import Image
from safetensors.torch import load_file, save_file
from trees import make_voc, save_image

from wsss_plugins.classifiers import TimmClassifier
from wsss_plugins.datasets import WSSSDataset
from wsss_plugins.errors import CheckpointError, ConfigError, DataError
from wsss_plugins.metrics import ExplanationSegmentation, Perturbation, perturbed_logits
from wsss_plugins.registry import DATASETS, STAGES, build_as
from wsss_plugins.seeds import AttentionGradCAM, AttentionRollout, FullLRP
from wsss_plugins.stages import Pipeline, Stage
from wsss_plugins.stages.attribution import target_classes
from wsss_plugins.stages.explanation import ExplanationStage
from wsss_plugins.structures import load_json, save_label_map

HEADS = dict(rollout=AttentionRollout, grad_cam=AttentionGradCAM, lrp=FullLRP)
METHODS = {title: dict(type=head.__name__) for title, head in HEADS.items()}
OBJECTS = dict(
    a=['cat'], b=['dog', 'cow'], c=['bus'], d=['car'], e=['cat'], f=['sofa'], g=['dog']
)
KINDS = ('SegmentationTestStage', 'PerturbationTestStage')


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = make_voc(tmp_path / 'voc', OBJECTS)
    for i, name in enumerate(OBJECTS):
        # Smooth, so that resizing leaves something of it.
        small = np.random.default_rng(i).integers(0, 256, (3, 4, 3), np.uint8)
        photo = Image.fromarray(small).resize((36, 30), Image.Resampling.BICUBIC)
        photo.save(root / f'JPEGImages/{name}.jpg')
        mask = np.zeros((30, 36), np.uint8)
        mask[5 : 20 + i, 9:30] = 8 if i % 2 else 12  # cat and dog
        mask[:2] = 255
        save_label_map(root / f'SegmentationClass/{name}.png', mask)
    return root


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    return save_tiny_vit(tmp_path / 'vit.safetensors')


def config(kind: str, root: Path, model: Any, **more: Any) -> dict[str, Any]:
    data = dict(type='VOC12', data_root=str(root), split='train')
    if kind == 'SegmentationTestStage':
        data['label_maps'] = 'SegmentationClass'
    base = dict(name='test', model=model, methods=METHODS, dataset=data)
    return dict(base, type=kind, input_size=(32, 32), batch_size=3) | more


def run(out: Path, *args: Any, **more: Any) -> dict[str, Any]:
    """Runs the stage alone."""
    out.mkdir(exist_ok=True)
    return build_as(STAGES, config(*args, **more), Stage).run(out, {})


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
    written: list[Path] = []
    replace = Path.replace

    def die_at_the_second(self: Path, target: Path) -> Path:
        written.append(target)
        if len(written) == 2:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run(out, kind, root, model)
    assert [p.name for p in (out / 'parts').iterdir()] == ['0000000.npz']
    seen = []
    measure = ExplanationStage._measure
    monkeypatch.setattr(
        ExplanationStage,
        '_measure',
        lambda *args: seen.append(list(args[3])) or measure(*args),
    )
    assert run(out, kind, root, model) == numbers
    assert seen == [[3, 4, 5], [6]]
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


# Mistakes -----------------------------------------------------------------------------


def message(error: type, out: Path, *args: Any, **more: Any) -> str:
    with pytest.raises(error) as caught:
        run(out, *args, **more)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_unknown_method(root, model, tmp_path) -> None:
    text = message(
        ConfigError,
        tmp_path,
        KINDS[0],
        root,
        model,
        methods=dict(a=dict(type='FulLRP')),
    )
    assert text.startswith(
        "unknown seed head 'FulLRP': did you mean 'FullLRP'? Allowed"
    )
    assert "stage 'test' needs methods" in message(
        ConfigError, tmp_path, KINDS[0], root, model, methods={}
    )


def test_unknown_choices(root, model, tmp_path) -> None:
    for key in ('explained', 'foreground'):
        assert f'{key} must be one of' in message(
            ConfigError, tmp_path, KINDS[0], root, model, **{key: 'all'}
        )


def test_class_out_of_range(root, tmp_path) -> None:
    model = save_tiny_vit(tmp_path / 'six.safetensors', num_classes=6)
    text = (
        f'VOC12 {root} has 20 classes but the classifier 6, so that a class may be out '
        'of its range 0 to 5: take a classifier of the same classes'
    )
    assert message(DataError, tmp_path, KINDS[1], root, model) == text
    for choice in (dict(explained='target'), dict(foreground='class')):
        assert message(DataError, tmp_path, KINDS[0], root, model, **choice) == text
    assert run(tmp_path, KINDS[0], root, model)['failed'] == 0  # predicted is enough


def test_mask_of_another_size(root, model, tmp_path, capsys) -> None:
    small = np.ones((30, 20), np.uint8)
    save_label_map(root / 'SegmentationClass/b.png', small)
    assert run(tmp_path / 'out', KINDS[0], root, model)['failed'] == 1
    expected = 'its mask is 30x20 but its photo 30x36: give the mask that belongs to it'
    assert f'b left out: {expected}' in capsys.readouterr().err
    for name in OBJECTS:
        save_label_map(root / f'SegmentationClass/{name}.png', small)
    text = message(DataError, tmp_path / 'none', KINDS[0], root, model)
    assert text == f"stage 'none': all of 7 images failed, a since {expected}"


def test_mask_without_a_pixel_that_counts(root, model, tmp_path, capsys) -> None:
    save_label_map(root / 'SegmentationClass/b.png', np.full((30, 36), 255, np.uint8))
    assert run(tmp_path / 'out', KINDS[0], root, model)['failed'] == 1
    assert 'b left out: every pixel of its mask is ignored' in capsys.readouterr().err


def test_weights_that_are_no_numbers(root, model, tmp_path) -> None:
    weights = load_file(model['pretrained'])
    weights['blocks.1.mlp.fc1.weight'][3, 4] = torch.nan
    weights['head.bias'][0] = torch.inf
    save_file(weights, model['pretrained'])
    assert message(CheckpointError, tmp_path, KINDS[0], root, model) == (
        'weight backbone.vit.blocks.1.mlp.fc1.weight (and 1 more) of TimmClassifier '
        'holds values that are not finite: load other weights, or train again with a '
        'lower learning rate'
    )


def test_photo_that_cannot_be_decoded(root, model, tmp_path) -> None:
    for name in OBJECTS:
        (root / f'JPEGImages/{name}.jpg').write_text('no photo')
    text = message(DataError, tmp_path / 'out', KINDS[1], root, model)
    assert text.startswith("stage 'out': all of 7 images failed, a since image ")
    assert 'JPEGImages/a.jpg cannot be decoded' in text
    save_image(root / 'JPEGImages/d.jpg', size=(32, 32))
    assert run(tmp_path / 'out', KINDS[1], root, model)['failed'] == 6
