"""Objects of seeds: the stage that makes them and the one that measures them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trees import SIZE, make_coco, square

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.synthetic import SyntheticSpec, write_devkit
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.stages import EvaluateInstanceLabelStage, InstanceLabelStage
from wsss_plugins.structures import Instances, Seed, load_json, load_label_map
from wsss_plugins.structures.layout import instances_path, seed_path


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> dict[str, Any]:
    """Six synthetic photos with masks of their objects."""
    folder = tmp_path_factory.mktemp('voc')
    write_devkit(folder, SyntheticSpec(size=(32, 40)), train=6, val=1, workers=1)
    return dict(
        type=VOC12,
        data_root=str(folder / 'VOC2012'),
        split='train',
        label_maps='SegmentationClass',
    )


def true_objects(voc: dict[str, Any]) -> dict[str, Instances]:
    """What the masks of the devkit say, read by hand."""
    dataset, found = (
        VOC12(**{k: v for k, v in voc.items() if k != 'type'}, test_mode=True),
        {},
    )
    for index, name in enumerate(dataset.ids):
        label = dataset.load_mask(index)
        numbers = load_label_map(dataset.root / 'SegmentationObject' / f'{name}.png')
        assert np.array_equal(numbers > 0, label > 0)
        masks = [numbers == n for n in range(1, numbers[numbers < 255].max() + 1)]
        classes = np.array([label[mask][0] - 1 for mask in masks])
        for mask, c in zip(masks, classes, strict=True):
            assert (label[mask] == c + 1).all(), 'an object is of one class'
        scores = np.linspace(0.5, 1, len(masks)).astype(np.float32)
        found[name] = Instances(np.array(masks), classes, scores)
    return found


def run(voc: dict[str, Any], objects: dict[str, Instances], folder: Path) -> dict:
    for name, each in objects.items():
        each.save(instances_path(folder / 'objects', name))
    stage = EvaluateInstanceLabelStage('score', 'objects', voc)
    return stage.run(folder / 'score', {'objects': folder / 'objects'})


def test_the_objects_of_the_masks_are_all_right(voc, tmp_path: Path) -> None:
    found = run(voc, true_objects(voc), tmp_path)
    assert found['images'] == 6
    assert found['map_50'] == found['ap'] == found['ap_50'] == pytest.approx(100)
    scores = load_json(tmp_path / 'score/scores.json')
    assert len(scores['map_50_by_class']) > 2


def test_objects_joined_or_named_wrong_are_not(voc, tmp_path: Path) -> None:
    true = true_objects(voc)
    renamed = {
        n: Instances(o.masks, (o.classes + 1) % 6, o.scores) for n, o in true.items()
    }
    assert run(voc, renamed, tmp_path / 'renamed')['map_50'] < 30
    joined = {
        n: Instances(o.masks.any(0, keepdims=True), o.classes[:1], o.scores[:1])
        for n, o in true.items()
    }
    assert run(voc, joined, tmp_path / 'joined')['map_50'] < 100


def test_a_class_that_does_not_exist_is_one_line(voc, tmp_path: Path) -> None:
    true = true_objects(voc)
    name = next(iter(true))
    wrong = Instances(true[name].masks[:1], np.array([6]), true[name].scores[:1])
    with pytest.raises(DataError, match='allowed are 0 to 5'):
        run(voc, true | {name: wrong}, tmp_path)


def test_a_devkit_without_masks_of_objects_says_so(voc, tmp_path: Path) -> None:
    root = tmp_path / 'VOC2012'
    root.mkdir()
    for part in Path(voc['data_root']).iterdir():
        if part.name != 'SegmentationObject':
            (root / part.name).symlink_to(part)
    with pytest.raises(DataError, match='SegmentationObject does not exist'):
        run(dict(voc, data_root=str(root)), {}, tmp_path)


def test_objects_of_coco(tmp_path: Path) -> None:
    items = [square(1, 1, id=1), square(90, 2, id=2)]
    root = make_coco(tmp_path / 'data', ['a.jpg', 'b.jpg'], items)
    coco = dict(type='COCO14', data_root=str(root), split='train2014')
    mask = np.zeros((1, *SIZE), bool)
    mask[0, 1:4, 1:5] = True
    person = Instances(mask, np.array([0]), np.ones(1, np.float32))
    brush = Instances(mask, np.array([1]), np.ones(1, np.float32))
    found = run(coco, dict(a=person, b=brush), tmp_path)
    assert found['map_50'] == pytest.approx(50)
    with pytest.raises(ConfigError, match='give a VOC12 or a COCO14'):
        EvaluateInstanceLabelStage('score', 'objects', dict(type='ImageNet'))


class Field(torch.nn.Module):
    """An IRNet that sees a boundary in column 5 of 12, and one centre on each side."""

    stride, radius = 4, 5

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def normalise(self, images):
        return images

    def boundaries_and_displacements(self, images):
        height, width = (side // 4 for side in images.shape[2:])
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
        centre = torch.where(x < 5, 2, 8)
        strength = (x == 5).float() * 0.99
        return strength[None], torch.stack([height // 2 - y, centre - x])[None].float()


def test_a_map_of_two_objects_is_cut_in_two(tmp_path: Path) -> None:
    stage = InstanceLabelStage('objects', 'maps', 'irn', dict(type='VOC12'))
    image = torch.zeros(3, 30, 46, dtype=torch.uint8)
    scores = torch.zeros(1, 30, 46)
    scores[0, 6:24, 2:44] = 1
    found = stage.instances(Field(), image, Seed(scores, torch.tensor([4])))
    assert found.size == (30, 46) and (found.classes == 4).all()
    large = found.scores > 0
    assert large.sum() == 2
    left, right = found.masks[large]
    assert left[15, 10] and not left[15, 35] and right[15, 35] and not right[15, 10]


def test_an_image_without_a_class_has_no_object() -> None:
    stage = InstanceLabelStage('objects', 'maps', 'irn', dict(type='VOC12'))
    image = torch.zeros(3, 30, 46, dtype=torch.uint8)
    none = Seed(torch.zeros(0, 30, 46), torch.zeros(0, dtype=torch.long))
    found = stage.instances(Field(), image, none)
    assert found.masks.shape == (0, 30, 46)


def test_photos_and_seeds_that_do_not_fit_are_left_out(
    voc, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(
        'wsss_plugins.stages.instances.load_trained', lambda *_: Field()
    )
    dataset = VOC12(**{k: v for k, v in voc.items() if k != 'type'}, test_mode=True)
    folder = tmp_path / 'maps'
    for index, name in enumerate(dataset.ids):
        size = (9, 9) if index == 1 else (32, 40)
        classes = torch.tensor(np.flatnonzero(dataset.labels(index)))
        Seed(torch.rand(len(classes), *size), classes).save(seed_path(folder, name))
    stage = InstanceLabelStage('objects', 'maps', 'irn', dict(voc, label_maps=None))
    inputs = dict(maps=folder, irn=tmp_path)
    assert stage.run(tmp_path / 'objects', inputs) == dict(images=6, failed=1)
    made = sorted((tmp_path / 'objects/instances').iterdir())
    before = [path.stat().st_mtime_ns for path in made]
    assert len(made) == 5
    stage.run(tmp_path / 'objects', inputs)
    assert [path.stat().st_mtime_ns for path in made] == before, 'not made again'


@pytest.mark.parametrize(
    'wrong', [dict(beta=0), dict(steps=-1), dict(background=2), dict(smallest=1)]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match='smallest in'):
        InstanceLabelStage('objects', 'maps', 'irn', dict(type='VOC12'), **wrong)
