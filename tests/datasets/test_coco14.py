from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from trees import SIZE, make_coco, square

from wsss_plugins.datasets import COCO14, write_coco_label_maps
from wsss_plugins.datasets.coco14 import COCO_CATEGORIES, COCO_CLASS_OF
from wsss_plugins.datasets.coco_masks import decode_rle, rasterise
from wsss_plugins.errors import DataError

IMAGES = ['COCO_train2014_000000000009.jpg', '000000000025.jpg', '000000000030.jpg']


@pytest.fixture
def root(tmp_path: Path) -> Path:
    annotations = [square(90, 1), square(1, 1), square(2, 3), square(2, 3)]
    return make_coco(tmp_path / 'coco', IMAGES, annotations)


def edit(root: Path, change: object) -> None:
    path = root / 'annotations/instances_train2014.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def message(root: Path, split: str = 'train2014', **options: object) -> str:
    with pytest.raises(DataError) as caught:
        COCO14(root, split, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_category_ids_map_to_80_classes_in_order() -> None:
    assert list(COCO_CLASS_OF.values()) == list(range(80))
    assert sorted(COCO_CATEGORIES) == list(COCO_CATEGORIES)
    gaps = set(range(1, 91)) - set(COCO_CATEGORIES)
    assert gaps == {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert (COCO_CLASS_OF[1], COCO_CLASS_OF[13], COCO_CLASS_OF[90]) == (0, 11, 79)


def test_labels_and_ids(root: Path) -> None:
    dataset = COCO14(root, 'train2014')
    assert dataset.ids == ['COCO_train2014_000000000009', '000000000030']
    assert dataset.labels(0).nonzero()[0].tolist() == [0, 79]
    assert dataset.labels(1).nonzero()[0].tolist() == [1]
    assert dataset.image_path(1).name == '000000000030.jpg'


def test_images_without_annotation_are_dropped_in_training_only(root: Path) -> None:
    assert len(COCO14(root, 'train2014')) == 2
    assert len(COCO14(root, 'train2014', drop_unlabelled=False)) == 3
    evaluated = COCO14(root, 'train2014', test_mode=True)
    assert len(evaluated) == 3 and not evaluated.labels(1).any()
    assert len(COCO14(root, 'train2014', test_mode=True, drop_unlabelled=True)) == 2


def test_bad_input(root: Path, tmp_path: Path) -> None:
    assert 'unpack train2014/, val2014/' in message(tmp_path / 'nowhere')
    assert 'do not exist: splits there are train2014' in message(root, 'val2014')
    (root / 'train2014' / IMAGES[2]).unlink()
    assert f'{IMAGES[2]} does not exist: it is listed in' in message(root)
    edit(root, lambda c: c.update(images=[], annotations=[]))
    assert 'instances_train2014.json lists no images' in message(root)


def test_unknown_categories(root: Path) -> None:
    edit(root, lambda c: c['categories'].append(dict(id=3, name='cars')))
    text = message(root)
    assert "names the unknown class 'cars': did you mean 'car'" in text
    edit(root, lambda c: c['categories'][-1].update(id=4, name='car'))
    assert 'category id 4 (car), which COCO has not' in message(root)
    edit(root, lambda c: c['categories'].pop())
    edit(root, lambda c: c['annotations'][0].update(category_id=12))
    assert 'category id 12 (without name)' in message(root)


def test_broken_instances_file(root: Path) -> None:
    edit(root, lambda c: c['annotations'][0].update(image_id=77))
    assert 'annotates the image 77 (and 0 more)' in message(root)
    edit(root, lambda c: c.pop('images'))
    assert "KeyError: 'images'" in message(root)
    (root / 'annotations/instances_train2014.json').write_text('{"images": [')
    assert 'is no instances file of COCO' in message(root)


def test_rasterised_square_covers_its_pixels() -> None:
    label_map = rasterise([square(90)], SIZE)
    inner = np.zeros(SIZE, bool)
    inner[1:4, 1:5] = True
    assert (label_map[inner] == 80).all()
    outer = np.zeros(SIZE, bool)
    outer[:5, :6] = True  # at most the pixels that its border touches
    assert not label_map[~outer].any()


def test_small_objects_stay_on_top_in_any_order() -> None:
    large = square(1, segmentation=[[0, 0, 10, 0, 10, 6, 0, 6]], area=60)
    for order in ([large, square(2)], [square(2), large]):
        label_map = rasterise(order, SIZE)
        assert label_map[2, 2] == 2 and label_map[5, 9] == 1


def test_parts_of_one_object_are_joined_not_cut_out() -> None:
    whole, part = [1, 1, 9, 1, 9, 5, 1, 5], [3, 2, 6, 2, 6, 4, 3, 4]
    label_map = rasterise([square(1, segmentation=[whole, part])], SIZE)
    assert (label_map[1:5, 1:9] == 1).all()


def test_crowds_are_ignored_but_not_the_objects_in_them() -> None:
    counts = [6 * 2, 6 * 6, 6 * 2]  # columns 2 to 7
    crowd = square(
        1, iscrowd=1, area=1, segmentation=dict(counts=counts, size=list(SIZE))
    )
    label_map = rasterise([square(2), crowd], SIZE)
    assert label_map[2, 3] == 2
    assert (label_map[:, 6:8] == 255).all() and not label_map[:, 8:].any()


def test_run_lengths_go_column_by_column() -> None:
    mask = np.random.default_rng(3).random(SIZE) < 0.4
    flat = np.concatenate([[False], mask.T.ravel(), [False]]).astype(int)
    turns = np.flatnonzero(np.diff(flat))
    counts = np.diff([0, *turns, mask.size]).tolist()
    np.testing.assert_array_equal(
        decode_rle(dict(counts=counts, size=SIZE), SIZE), mask
    )
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    for counts in (code['counts'], code['counts'].decode()):
        decoded = decode_rle(dict(counts=counts, size=SIZE), SIZE)
        np.testing.assert_array_equal(decoded, mask)
    text = code['counts'].decode()
    for broken in ('', '\n', 'oooo', text[:-1] + 'P', [], [mask.size + 1, -1]):
        with pytest.raises(DataError, match=r'code is damaged \(.*\): repair'):
            decode_rle(dict(counts=broken, size=SIZE), SIZE)
    for short in ('PPYo0', code['counts'][:-3]):
        with pytest.raises(DataError, match=r'damaged|does not fit'):
            decode_rle(dict(counts=short, size=SIZE), SIZE)
    with pytest.raises(DataError, match=r'does not fit its image of \(6, 10\)'):
        decode_rle(dict(counts=code['counts'], size=(5, 10)), SIZE)
    with pytest.raises(DataError, match=r'with 5 pixels does not fit .*\(6, 10\)'):
        decode_rle(dict(counts=[2, 3], size=SIZE), SIZE)


def test_written_label_maps_evaluate_and_never_train(
    root: Path, tmp_path: Path
) -> None:
    folder = write_coco_label_maps(root, 'train2014', tmp_path / 'out')
    assert folder == tmp_path / 'out/SegmentationClass/train2014'
    dataset = COCO14(root, 'train2014', label_maps=folder, test_mode=True)
    assert set(np.unique(dataset.load_mask(2))) == {0, 2}
    assert not dataset.load_mask(1).any()
    assert 'training on ground-truth masks' in message(root, label_maps=folder)
    default = write_coco_label_maps(root, 'train2014')
    assert default == root / 'SegmentationClass/train2014'


def test_an_object_without_polygons_is_ignored_in_its_box() -> None:
    """It was background before: a prediction that finds the object was then wrong."""
    boxed = dict(square(1, area=12), segmentation=[], bbox=[3, 1.5, 4, 2.5])
    label_map = rasterise([boxed, square(2)], SIZE)
    drawn = rasterise([square(2)], SIZE)
    expected = np.zeros(SIZE, np.uint8)
    expected[1:4, 3:7] = 255
    np.testing.assert_array_equal(label_map, np.where(drawn > 0, drawn, expected))
    for shape in ([], [[]], [[1, 2, 3, 4]], None):
        empty = dict(square(1), segmentation=shape, id=7)
        with pytest.raises(DataError, match='annotation 7 has neither polygons nor'):
            rasterise([{k: v for k, v in empty.items() if k != 'bbox'}], SIZE)


def test_two_photos_of_one_name_are_refused(root: Path) -> None:
    """Their label maps would be one file: the second took the place of the first."""
    edit(root, lambda c: c['images'][1].update(file_name='b/' + IMAGES[0]))
    with pytest.raises(DataError, match='more than once'):
        write_coco_label_maps(root, 'train2014')


def test_compressed_run_lengths_name_file_and_image(root: Path) -> None:
    code = dict(counts='PPYo0', size=list(SIZE))
    edit(root, lambda c: c['annotations'][2].update(segmentation=code))
    with pytest.raises(DataError, match=r'instances_train2014.json: image 3: a .*code'):
        write_coco_label_maps(root, 'train2014')


def test_coco128(shared: Path, tmp_path: Path) -> None:
    root = shared / 'data/coco128'
    dataset = COCO14(root, 'train2014')
    assert len(dataset) == 126
    folder = write_coco_label_maps(root, 'train2014', tmp_path)
    everything = COCO14(root, 'train2014', label_maps=folder, test_mode=True)
    assert len(everything) == 128
    for i in range(0, 128, 8):
        mask = everything.load_mask(i)
        assert mask.shape == everything.load_image(i).shape[:2]
        shown = set(np.unique(mask)) - {0, 255}
        assert shown <= {c + 1 for c in everything.labels(i).nonzero()[0]}
