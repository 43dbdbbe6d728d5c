from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from trees import half_mask, make_voc, save_image

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.files import read_id_list
from wsss_plugins.datasets.voc12 import VOC_CLASSES, VOC_COUNTS
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.structures import load_label_map, load_npz, save_label_map, save_npz

OBJECTS = {'a': ['dog', 'person', 'dog'], 'b': ['tvmonitor'], 'c': ['aeroplane']}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_voc(tmp_path / 'voc', OBJECTS)


def message(root: Path, split: str = 'train', **options: object) -> str:
    with pytest.raises(DataError) as caught:
        VOC12(root, split, **options)
    text = str(caught.value)
    assert '\n' not in text
    return text


def id_list(root: Path, text: str, name: str = 'train') -> None:
    (root / f'ImageSets/Segmentation/{name}.txt').write_text(text)


def named(dataset: VOC12, index: int) -> set[str]:
    return {dataset.foreground_classes[c] for c in dataset.labels(index).nonzero()[0]}


def test_labels_from_xml(root: Path) -> None:
    dataset = VOC12(root, 'train')
    assert dataset.ids == ['a', 'b', 'c']
    assert [named(dataset, i) for i in range(3)] == [set(v) for v in OBJECTS.values()]
    assert dataset.labels(0)[11] == 1 and dataset.labels(0).sum() == 2  # dog, person


def test_parts_and_difficult_objects_of_an_annotation(root: Path) -> None:
    (root / 'Annotations/b.xml').write_text(
        '<annotation><object><name>person</name><part><name>head</name></part></object>'
        '<object><name> cat </name><difficult>1</difficult></object></annotation>'
    )
    assert named(VOC12(root, 'train'), 1) == {'person', 'cat'}


def test_labels_from_masks(root: Path) -> None:
    dataset = VOC12(root, 'train', labels='masks')
    assert [named(dataset, i) for i in range(3)] == [
        {'aeroplane'},
        {'bicycle'},
        {'aeroplane'},
    ]
    assert 'seg_map_path' not in dataset[0]
    save_label_map(root / 'SegmentationClassAug/b.png', half_mask(20))
    assert named(VOC12(root, 'train', labels='masks'), 1) == {'tvmonitor'}


def test_labels_from_npz(root: Path) -> None:
    labels = np.eye(20, dtype=np.uint8)[[3, 4, 5, 6]]
    save_npz(root / 'tags.npz', dict(names=np.array(list('cbax')), labels=labels))
    dataset = VOC12(root, 'train', labels='tags.npz')
    assert [int(dataset.labels(i).argmax()) for i in range(3)] == [5, 4, 3]
    (root / 'ImageSets/Segmentation/more.txt').write_text('a\nd\ne\n')
    save_image(root / 'JPEGImages/d.jpg'), save_image(root / 'JPEGImages/e.jpg')
    assert "image 'd' (and 1 more) has no label in" in message(
        root, 'more', labels=root / 'tags.npz'
    )
    save_npz(root / 'tags.npz', dict(names=np.array(['a']), labels=labels[:1, :7]))
    assert 'labels of shape (1, 7): 1 names and 20 classes need (1, 20)' in message(
        root, labels='tags.npz'
    )
    save_npz(root / 'tags.npz', dict(ids=np.array(['a'])))
    assert "lacks the arrays 'names' (N,) and 'labels' (N, C): it has ids" in message(
        root, labels='tags.npz'
    )


def test_no_labels_only_for_testing(root: Path) -> None:
    dataset = VOC12(root, 'train', labels=None, test_mode=True)
    assert dataset.labels(0).shape == (20,) and not dataset.labels(0).any()
    assert 'labels=None is only for test_mode=True' in message(root, labels=None)
    assert "labels='boxes' is no source" in message(root, labels='boxes')


def test_id_list_with_paths_and_a_path_to_a_list(root: Path) -> None:
    text = '/JPEGImages/b.jpg /SegmentationClass/b.png\n/JPEGImages/a.jpg x\n\n'
    (root / 'mine.txt').write_text(text)
    assert VOC12(root, 'mine.txt').ids == ['b', 'a']
    assert VOC12(root, str(root / 'mine.txt')).ids == ['b', 'a']


def test_classes_file_takes_the_place_of_vocs(root: Path) -> None:
    (root / 'classes.txt').write_text('dog\nperson\ntvmonitor\naeroplane\n')
    dataset = VOC12(root, 'train')
    assert dataset.metainfo['classes'] == (
        'background', 'dog', 'person', 'tvmonitor', 'aeroplane',
    )  # fmt: skip
    assert dataset.metainfo['palette'][2] == [0, 128, 0]
    assert len(dataset.metainfo['palette']) == 5
    assert dataset.labels(0).tolist() == [1, 1, 0, 0]


def test_indices(root: Path) -> None:
    assert VOC12(root, 'train', indices=2).ids == ['a', 'b']
    assert VOC12(root, 'train', indices=[2, 0]).ids == ['c', 'a']


def test_missing_data_root(tmp_path: Path) -> None:
    root = tmp_path / 'synthetic/VOC2012'
    text = message(root)
    assert f'data root {root} does not exist' in text
    assert 'VOCdevkit/VOC2012' in text
    assert f'wsss prepare synthetic --out {root.parent}' in text


def test_bad_id_lists(root: Path) -> None:
    id_list(root, '', 'val')
    text = message(root, 'trian')
    assert 'trian.txt does not exist: lists there are train, val' in text
    assert 'val.txt lists no images' in message(root, 'val')
    id_list(root, 'a\nb\na\nb\nc\n')
    assert "train.txt lists 'a' more than once (2 such ids)" in message(root)


def test_id_without_image(root: Path) -> None:
    id_list(root, 'a\nx\nb\ny\nz\n')
    text = message(root)
    assert f'image {root}/JPEGImages/x.jpg (and 2 more) does not exist' in text
    assert 'train.txt' in text


def test_id_without_annotation(root: Path) -> None:
    (root / 'Annotations/b.xml').unlink()
    text = message(root)
    assert "image 'b' has no label" in text and 'Annotations/b.xml does not' in text
    (root / 'Annotations/b.xml').write_text('<annotation>')
    assert 'b.xml is no readable annotation' in message(root)


def test_unknown_class_in_annotation(root: Path) -> None:
    path = root / 'Annotations/c.xml'
    path.write_text('<annotation><object><name>hors</name></object></annotation>')
    text = message(root)
    assert f"{path} names the unknown class 'hors': did you mean 'horse'?" in text


def test_missing_label_map(root: Path) -> None:
    save_label_map(root / 'pseudo/a.png', half_mask(1))
    text = message(root, label_maps='pseudo')
    assert f'label map {root}/pseudo/b.png (and 1 more) does not exist' in text
    assert 'nowhere/a.png (and 2 more)' in message(root, label_maps='nowhere')


@pytest.mark.parametrize(
    'folder', ['SegmentationClass', 'SegmentationClassAug', 'SegmentationObject']
)
def test_training_on_ground_truth_is_refused(root: Path, folder: str) -> None:
    for given in (folder, str(root / folder), f'JPEGImages/../{folder}'):
        text = message(root, label_maps=given)
        assert 'training on ground-truth masks' in text
        assert 'test_mode=True' in text and 'allow_ground_truth=True' in text


def test_a_link_to_ground_truth_is_refused_too(root: Path) -> None:
    (root / 'pseudo').symlink_to(root / 'SegmentationClass')
    assert 'training on ground-truth masks' in message(root, label_maps='pseudo')


def test_ground_truth_for_evaluation_and_for_the_supervised_reference(
    root: Path,
) -> None:
    for allowed in (dict(test_mode=True), dict(allow_ground_truth=True)):
        dataset = VOC12(root, 'train', label_maps='SegmentationClass', **allowed)
        np.testing.assert_array_equal(dataset.load_mask(1), half_mask(2))


def test_load_mask_checks_values(root: Path) -> None:
    save_label_map(root / 'pseudo/a.png', half_mask(21))
    for name in 'bc':
        save_label_map(root / f'pseudo/{name}.png', half_mask(20))
    dataset = VOC12(root, 'train', label_maps='pseudo')
    assert dataset.load_mask(1).max() == 255
    with pytest.raises(DataError, match=r'pseudo/a.png has the value 21: .* 0 to 20'):
        dataset.load_mask(0)
    with pytest.raises(DataError, match='give label_maps=FOLDER'):
        VOC12(root, 'train').load_mask(0)


def test_load_image_names_a_broken_file(root: Path) -> None:
    dataset = VOC12(root, 'train')
    assert dataset.load_image(0).shape == (6, 10, 3)
    path = root / 'JPEGImages/b.jpg'
    save_image(path, size=(60, 100))
    path.write_bytes(path.read_bytes()[:-900])  # OpenCV would decode this in part
    with pytest.raises(DataError, match=r'JPEGImages/b.jpg cannot be decoded'):
        dataset.load_image(1)
    path.write_text('no picture')
    with pytest.raises(DataError, match=r'JPEGImages/b.jpg cannot be decoded'):
        dataset.load_image(1)
    path.unlink()
    with pytest.raises(DataError, match=r'JPEGImages/b.jpg does not exist'):
        dataset.load_image(1)


def test_verify_count(root: Path) -> None:
    text = message(root, verify_count=True)
    assert 'train.txt lists 3 images, the official list 1464' in text
    (root / 'mine.txt').write_text('a\n')
    assert len(VOC12(root, 'mine.txt', verify_count=True)) == 1


def test_misspelt_transform_is_one_line(root: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'LoadImage'"):
        VOC12(root, 'train', pipeline=[dict(type='LoadImag')])
    with pytest.raises(ConfigError, match="ResizeLongSide takes no argument 'hihg'"):
        VOC12(root, 'train', pipeline=[dict(type='ResizeLongSide', low=1, hihg=2)])


def test_every_folder_is_listed_once_however_many_images(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OBJECTS:
        save_label_map(root / f'pseudo/{name}.png', half_mask(1))
    listed = []
    iterdir = Path.iterdir
    monkeypatch.setattr(
        Path, 'iterdir', lambda self: listed.append(self.name) or iterdir(self)
    )
    VOC12(root, 'train', label_maps='pseudo')
    assert listed == ['JPEGImages', 'pseudo']


@pytest.mark.parametrize('split', sorted(VOC_COUNTS))
def test_official_lists(shared: Path, split: str) -> None:
    ids = read_id_list(shared / f'data/voc12_lists/{split}_id.txt')
    assert len(ids) == len(set(ids)) == VOC_COUNTS[split]


def test_voc_sample_with_the_official_labels(shared: Path) -> None:
    root = shared / 'data/voc_sample/VOCdevkit/VOC2012'
    tags = shared / 'data/voc12_lists/cls_labels_voc12.npz'
    dataset = VOC12(
        root, 'val', labels=tags, label_maps='SegmentationClass', test_mode=True
    )
    assert [named(dataset, i) for i in range(3)] == [
        {'bottle', 'person'},
        {'chair', 'person', 'sofa'},
        {'bus', 'car'},
    ]
    for i in range(3):
        mask = dataset.load_mask(i)
        assert mask.shape == dataset.load_image(i).shape[:2]
        shown = set(np.unique(mask)) - {0, 255}
        assert shown <= {c + 1 for c in dataset.labels(i).nonzero()[0]}


def test_official_labels_cover_the_lists_and_the_masks(shared: Path) -> None:
    arrays = load_npz(shared / 'data/voc12_lists/cls_labels_voc12.npz')
    assert arrays['labels'].shape[1] == len(VOC_CLASSES)
    label_of = dict(zip(arrays['names'].tolist(), arrays['labels'], strict=True))
    for split in ('train', 'train_aug', 'val'):
        ids = read_id_list(shared / f'data/voc12_lists/{split}_id.txt')
        assert label_of.keys() >= set(ids)
    for path in sorted((shared / 'data/voc12_masks').glob('*.png'))[::30]:
        shown = set(np.unique(load_label_map(path, num_classes=21))) - {0, 255}
        assert shown <= {c + 1 for c in label_of[path.stem].nonzero()[0]}


def test_photos_of_other_suffixes_and_ids_with_blanks(tmp_path: Path) -> None:
    root = make_voc(tmp_path / 'voc', {n: ['cat'] for n in ('a', 'b', 'c', 'day 1')})
    folder = root / 'JPEGImages'
    for old, new in (('a', 'a.png'), ('b', 'b.JPG'), ('c', 'c.jpeg')):
        (folder / f'{old}.jpg').rename(folder / new)
    id_list(root, 'a\nb\nc\nday 1\n')
    dataset = VOC12(root, 'train')
    assert dataset.ids == ['a', 'b', 'c', 'day 1']
    names = [dataset.image_path(i).name for i in range(4)]
    assert names == ['a.png', 'b.JPG', 'c.jpeg', 'day 1.jpg']
    (root / 'Annotations/day 2.xml').write_text('<annotation/>')
    id_list(root, 'a\nb 1\nday_1\n')
    assert 'near names there are day 1.jpg' in message(root)
