"""Seeds as detections: the stage on real photos, and on what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import SIZE, make_coco, square

from wsss_plugins.datasets.coco14 import COCO_CLASS_OF
from wsss_plugins.datasets.coco_masks import rasterise
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.stages import EvaluateInstanceStage
from wsss_plugins.structures import Seed, load_json, save_json
from wsss_plugins.structures.layout import FAILURES_FILE, seed_path

PERSON, BRUSH = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32)
PERSON[1:4, 1:5] = 0.8
BRUSH[1:4, 1:5] = 0.4


@pytest.fixture
def dataset(tmp_path: Path) -> dict:
    """A person in two images, a toothbrush in one; the third shows nothing."""
    items = [square(1, 1, id=1), square(1, 2, id=2), square(90, 2, id=3)]
    root = make_coco(tmp_path / 'data', ['a.jpg', 'b.jpg', 'c.jpg'], items)
    return dict(type='COCO14', data_root=str(root), split='train2014')


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Maps that find both people, and a brush that is shifted by a column."""
    folder = tmp_path / 'cam'
    save_seed(folder, 'a', {0: PERSON})
    save_seed(folder, 'b', {0: PERSON, 79: np.roll(BRUSH, 1, 1)})
    Seed(torch.zeros(0, *SIZE), torch.zeros(0, dtype=torch.long)).save(
        seed_path(folder, 'c')
    )
    return folder


def save_seed(folder: Path, name: str, maps: dict[int, np.ndarray]) -> None:
    scores = torch.tensor(np.stack(list(maps.values())))
    Seed(scores, torch.tensor(list(maps))).save(seed_path(folder, name))


def run(stage: EvaluateInstanceStage, folder: Path) -> dict:
    inputs = {name: folder.parent / name for name in stage.inputs}
    return stage.run(folder.parent / stage.name, inputs)


def test_people_found_and_a_brush_beside_its_place(dataset, seeds) -> None:
    found = run(EvaluateInstanceStage('score', 'cam', dataset), seeds)
    assert found['images'] == 3
    # 3 x 3 of 3 x 5 pixels are shared: IoU 0.6 is reached at three of ten thresholds.
    assert found['ap'] == pytest.approx((100 + 30) / 2, abs=1e-3)
    assert found['ap_large'] is found['ar_medium'] is None
    written = load_json(seeds.parent / 'score/scores.json')['cam']
    assert written['ap_small'] == written['ap'] == pytest.approx(found['ap'], abs=5e-4)
    assert written['ap_50'] == pytest.approx(100)


def test_components_or_one_object_a_class(dataset, seeds) -> None:
    two = PERSON.copy()
    two[5, 8] = 0.7
    save_seed(seeds, 'a', {0: two})
    apart = run(EvaluateInstanceStage('apart', 'cam', dataset), seeds)
    whole = EvaluateInstanceStage('whole', 'cam', dataset, instances='class')
    # The pixel is the least sure detection, after which nothing is left to find; with it,
    # 12 of 13 pixels miss the IoU thresholds of 0.95.
    assert apart['ap'] == pytest.approx(65, abs=1e-3)
    assert run(whole, seeds)['ap'] < 65


def test_confidence_weighs_detections(dataset, seeds) -> None:
    """The map of an image without a person is the highest, and doubted most."""
    found = {}
    for doubt in (1.0, 0.1):
        seed = Seed(
            torch.tensor(PERSON[None] / 0.8),
            torch.tensor([0]),
            confidence=torch.tensor([doubt]),
        )
        seed.save(seed_path(seeds, 'c'))
        score = EvaluateInstanceStage(
            f'score{doubt:g}'.replace('.', ''), 'cam', dataset
        )
        found[doubt] = run(score, seeds)['ap']
    # First of three, a wrong person halves the precision up to recall 1/2.
    third = 100 * (51 * 2 / 3 + 50 * 2 / 3) / 101
    assert found == pytest.approx({1.0: (third + 30) / 2, 0.1: 65}, abs=1e-3)


def test_a_table_of_several_seeds_that_goes_on(dataset, seeds) -> None:
    other = seeds.parent / 'rollout'
    save_seed(other, 'a', {0: PERSON})
    save_seed(other, 'b', {79: BRUSH})
    save_seed(other, 'c', {0: PERSON.T.copy().reshape(SIZE)})
    titles = dict(CAM='cam', Rollout='rollout')
    stage = EvaluateInstanceStage('score', titles, dataset)
    assert stage.inputs == ('cam', 'rollout')
    found = run(stage, seeds)
    for title, source in titles.items():
        alone = run(EvaluateInstanceStage(f'only_{source}', source, dataset), seeds)
        assert (found[f'{title}_ap'], found[f'{title}_ar']) == (
            alone['ap'],
            alone['ar'],
        )
        every = load_json(seeds.parent / f'only_{source}/scores.json')[source]
        assert load_json(seeds.parent / 'score/scores.json')[title] == every
    assert found['CAM_ap'] != found['Rollout_ap'] > 0
    folder = seeds.parent / 'score'
    lines = (folder / 'table.md').read_text().splitlines()
    assert (
        lines[0] == '| seeds | AP | AP_medium | AP_large | AR | AR_medium | AR_large |'
    )
    assert lines[2].startswith('| CAM | 65.00 | - | - | ')
    header, *rows = (folder / 'table.csv').read_text().splitlines()
    assert header.count(',') == 12 and rows[1].startswith('Rollout,')
    (folder / 'parts/001.json').unlink()
    before = (folder / 'parts/000.json').stat().st_mtime_ns
    seed_path(seeds, 'a').unlink()  # is not read again
    assert run(EvaluateInstanceStage('score', titles, dataset), seeds) == found
    assert (folder / 'parts/000.json').stat().st_mtime_ns == before


def test_images_that_failed_are_left_out(dataset, seeds) -> None:
    seed_path(seeds, 'b').unlink()
    save_json(seeds / FAILURES_FILE, dict(b='broken'))
    found = run(EvaluateInstanceStage('score', 'cam', dataset), seeds)
    assert (found['images'], found['left_out']) == (2, 1)
    assert found['ap'] == pytest.approx(100), 'there is no brush to find'


def test_perfect_maps_of_real_photos(shared: Path, tmp_path: Path) -> None:
    """Of the photos with one object a class at most, drawn from the polygons."""
    root = shared / 'data/coco128'
    truth = json.loads((root / 'annotations/instances_train2014.json').read_text())
    others = {}
    for image in truth['images']:
        name, size = Path(image['file_name']).stem, (image['height'], image['width'])
        found = [a for a in truth['annotations'] if a['image_id'] == image['id']]
        maps = {
            COCO_CLASS_OF[a['category_id']]: np.float32(rasterise([a], size) > 0)
            for a in found
        }
        if maps and len(maps) == len(found):
            save_seed(tmp_path / 'cam', name, maps)
        else:
            others[name] = 'several objects of a class, or none'
    save_json(tmp_path / 'cam' / FAILURES_FILE, others)
    cfg = dict(type='COCO14', data_root=str(root), split='train2014')
    scores = run(
        EvaluateInstanceStage('score', 'cam', cfg, instances='class'), tmp_path / 'cam'
    )
    assert scores['images'] == 128 - len(others) > 20
    # Ours covers every pixel that the polygon touches, pycocotools' about half of them.
    assert scores['ap'] > 85 and scores['ap_large'] > 90


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda folder: seed_path(folder, 'a').unlink(), r'a\.npz does not exist'),
        (lambda folder: save_seed(folder, 'a', {0: PERSON.T}), r'size \(10, 6\) but image 1'),
        (lambda folder: save_seed(folder, 'a', {80: PERSON}), 'has the class 80: COCO'),
        (lambda folder: edit(folder, area='big'), 'annotation 1 of image 1'),
        (lambda folder: edit(folder, segmentation=[['x']]), 'no instances file of COCO'),
        (lambda folder: edit(folder, image_id=77), 'annotates the image 77'),
    ],
)  # fmt: skip
def test_broken_input_is_named(dataset, seeds, change, words) -> None:
    change(seeds)
    with pytest.raises(DataError, match=words):
        run(EvaluateInstanceStage('score', 'cam', dataset), seeds)


def edit(folder: Path, **changes: object) -> None:
    """Changes the first annotation."""
    path = folder.parent / 'data/annotations/instances_train2014.json'
    content = load_json(path)
    content['annotations'][0].update(changes)
    save_json(path, content)


def test_wrong_arguments(dataset) -> None:
    with pytest.raises(ConfigError, match="threshold must be 'otsu' or a number"):
        EvaluateInstanceStage('score', 'cam', dataset, threshold=2)
    with pytest.raises(ConfigError, match="'score' needs seeds: name a stage"):
        EvaluateInstanceStage('score', {}, dataset)
    with pytest.raises(ConfigError, match='which VOC12 has not: give a COCO14'):
        EvaluateInstanceStage('score', 'cam', dict(dataset, type='VOC12'))
