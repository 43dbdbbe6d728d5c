"""Damaged and contradictory annotations are refused: one line with file, line and object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from own_annotations import (
    BIRD,
    PHOTOS,
    refusal,
    write_coco,
    write_labelme,
    write_photos,
    write_voc,
    write_yolo,
)

from wsss_plugins.datasets.preparation import prepare_labels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / 'photos')


def annotation(key: str, value: object) -> Callable[[dict], None]:
    """Sets a value of the second annotation."""
    return lambda content: content['annotations'][1].update({key: value})


COCO = {
    'category': (
        annotation('category_id', 5),
        'annotation 1 has the category_id 5, which the file does not list',
    ),
    'image': (annotation('image_id', 99), 'annotation 1 has the image_id 99'),
    'polygon': (
        annotation('segmentation', [[1, 2, 3, 4, 5, 6, 7]]),
        'annotation 1: 7 coordinates, where pairs of x and y',
    ),
    'text': (
        annotation('segmentation', [['a', 'b']]),
        'annotation 1: coordinates are no numbers',
    ),
    'nan': (
        annotation('segmentation', [[1, 2, float('nan'), 4, 5, 6]]),
        'annotation 1: 6 coordinates, where pairs',
    ),
    'box': (annotation('bbox', [1, 2, 3]), 'annotation 1: '),
    'outside': (
        annotation('segmentation', [[100, 100, 120, 100, 120, 120]]),
        'image 7: an object at (100, 100) lies outside the photo of 20 x 30',
    ),
    'run lengths': (
        annotation('segmentation', dict(size=[10, 10], counts=[100])),
        'image 7: a run-length code of size (10, 10)',
    ),
    'counts': (
        annotation('segmentation', dict(size=[20, 30])),
        "annotation 1: its segmentation has no 'counts' and 'size'",
    ),
    'size': (
        lambda c: c['images'][1].update(height=40),
        'image 7 is of a photo of 40 x 30 (H x W), and ',
    ),
    'twice': (lambda c: c['images'].append(c['images'][0]), 'id 0 is there twice'),
    'file twice': (
        lambda c: c['images'].append({**c['images'][0], 'id': 50}),
        'is annotated twice (',
    ),
    'no name': (lambda c: c['categories'][1].pop('name'), "id 3 has no 'name'"),
    'no lists': (lambda c: c.pop('categories'), "has no list 'categories'"),
    'missing': (
        lambda c: c['images'][1].update(file_name='day 1/c.png'),
        "the photo 'day 1/c.png' of ",
    ),
    'case': (lambda c: c['categories'][1].update(name='Bird'), "'Bird' and 'bird'"),
    'invisible': (
        lambda c: c['categories'][1].update(name='ne\u200bst'),
        'an invisible character (U+200B',
    ),
    'nothing': (
        lambda c: c.update(annotations=[]),
        'nothing is marked in the 4 photos',
    ),
}


@pytest.mark.parametrize('name', COCO)
def test_coco(name: str, photos: Path, tmp_path: Path) -> None:
    change, words = COCO[name]
    path = write_coco(tmp_path)
    content = json.loads(path.read_text('utf-8'))
    change(content)
    path.write_text(json.dumps(content), 'utf-8')
    message = refusal('coco', [path], tmp_path / 'out', images=photos)
    assert words in message
    if name not in ('nothing', 'case', 'invisible'):
        assert str(path) in message
    assert not (tmp_path / 'out/photos.csv').exists(), 'the table comes last'


def test_a_crowd_of_classes_is_refused(tmp_path: Path) -> None:
    photos = {f'{i}.jpg': [] for i in range(255)}
    write_photos(tmp_path / 'photos', photos)
    content = dict(
        images=[dict(id=i, file_name=name) for i, name in enumerate(photos)],
        categories=[dict(id=i, name=f'c{i}') for i in range(255)],
        annotations=[dict(id=i, image_id=i, category_id=i) for i in range(255)],
    )
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    message = refusal('coco', [path], tmp_path / 'out', images=tmp_path / 'photos')
    assert '255 classes' in message


def test_json_that_is_cut_off(photos: Path, tmp_path: Path) -> None:
    path = write_coco(tmp_path)
    text = path.read_text('utf-8')
    for content in ('', '[]', text[: len(text) // 2], '{"images": ' + '[' * 100_000):
        path.write_text(content, 'utf-8')
        message = refusal('coco', [path], tmp_path / 'out', images=photos)
        assert message.startswith(f'{path} cannot be read as JSON of COCO (')
    message = refusal('coco', [tmp_path], tmp_path / 'out', images=photos)
    assert message.endswith(f'give the JSON file of COCO, such as {path}')
    message = refusal('coco', [tmp_path / 'no.json'], tmp_path / 'out', images=photos)
    assert message.endswith('does not exist: give the annotations')


LABELME = {
    'label': (dict(shapes=[dict(points=[])]), 'a.json: shape 1 has no label'),
    'points': (
        dict(shapes=[dict(label='x', points=[[1, 2], [3, 4]])]),
        'a.json: shape 1 (x): 4 coordinates',
    ),
    'kind': (
        dict(shapes=[dict(label='x', shape_type='star', points=[[1, 2]])]),
        "a.json: shape 1 (x): its kind is 'star'",
    ),
    'mask': (
        dict(shapes=[dict(label='x', shape_type='mask', points=[[1, 2]], mask='?')]),
        'a.json: shape 1 (x): its mask, a picture in base64, cannot be',
    ),
    'other': (dict(images=[]), "a.json has no list 'shapes'"),
    'flags': (
        dict(shapes=[], flags=dict(blurred=False, nest=True)),
        "a.json has no shapes but the flag 'nest', and flags are not read",
    ),
}


@pytest.mark.parametrize('name', LABELME)
def test_labelme(name: str, photos: Path, tmp_path: Path) -> None:
    content, words = LABELME[name]
    source = write_labelme(tmp_path / 'labels')
    (source / 'day 1/a.json').write_text(json.dumps(content))
    assert words in refusal('labelme', [source], tmp_path / 'out', images=photos)


YOLO = {
    'class': (
        '0 0 0 1 1\n3 0 0 1 1',
        "line 2: the class is '3': allowed are the numbers",
    ),
    'word': ('bird 0 0 1 1', "line 1: the class is 'bird'"),
    'score': ('1 0.5 0.5 0.1 0.1 0.9', 'line 1: 6 values: a box has 5'),
    'pixels': ('1 15 10 4 4', 'line 1: the value 15 is outside [0, 1]'),
    'negative': ('1 -0.5 0.5 0.1 0.1', 'line 1: the value -0.5 is outside [0, 1]'),
    'number': ('1 x 0.5 0.1 0.1', 'line 1: coordinates are no numbers'),
    'short': ('1', 'line 1: 1 values'),
}


@pytest.mark.parametrize('name', YOLO)
def test_yolo(name: str, photos: Path, tmp_path: Path) -> None:
    text, words = YOLO[name]
    source = write_yolo(tmp_path / 'labels')
    (source / 'day 1/b.txt').write_text(text)
    message = refusal('yolo', [source], tmp_path / 'out', images=photos)
    assert message.startswith(f'{source / "day 1/b.txt"}, {words}')


VOC = {
    '<annotations/>': 'begins with <annotations>, an annotation of VOC with',
    '<annotation><object/></annotation>': 'object 1 has no name',
    '<annotation><object><name>x</name><bndbox><xmin>a</xmin></bndbox></object>'
    '</annotation>': "object 1 (x): <xmin> is 'a', which is no number",
    '<!DOCTYPE a><annotation/>': 'declares the document type',
    '<annotation>': 'is no readable annotation',
}


@pytest.mark.parametrize('text', VOC)
def test_voc(text: str, photos: Path, tmp_path: Path) -> None:
    source = write_voc(tmp_path / 'labels')
    (source / 'day 1/b.xml').write_text(text)
    message = refusal('voc', [source], tmp_path / 'out', images=photos)
    assert str(source / 'day 1/b.xml') in message and VOC[text] in message


@pytest.mark.parametrize('format', ['voc', 'labelme', 'yolo'])
def test_folders_without_files(format: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty/classes.txt').write_text('bird')
    message = refusal(format, [tmp_path / 'empty'], tmp_path / 'out', images=photos)
    assert message.startswith(f'{tmp_path / "empty"} has no .')


def test_photos_that_are_missing_may_be_left_out(photos: Path, tmp_path: Path) -> None:
    source = write_labelme(tmp_path / 'labels', PHOTOS | {'gone.jpg': [BIRD]})
    message = refusal('labelme', [source], tmp_path / 'out', images=photos)
    assert "the photo 'gone.jpg' of" in message and 'and 0 more of 5' in message
    done = prepare_labels(
        'labelme', [source], tmp_path / 'out', images=photos, skip_missing=True
    )
    assert done.counts['annotations_without_photo'] == 1 and done.counts['photos'] == 4


def test_a_run_that_was_interrupted_goes_on(
    photos: Path, tmp_path: Path, monkeypatch
) -> None:
    path, out = write_coco(tmp_path), tmp_path / 'out'
    content = json.loads(path.read_text('utf-8'))
    content['annotations'][2]['segmentation'] = [[100, 100, 120, 100, 120, 120]]
    broken = tmp_path / 'broken.json'
    broken.write_text(json.dumps(content))
    assert 'lies outside' in refusal('coco', [broken], out, images=photos)
    assert (out / 'prepared.json').exists() and not (out / 'photos.csv').exists()
    done = prepare_labels('coco', [path], out, images=photos)
    assert done.fresh and done.counts['masks'] == 4
    assert len(list((out / 'masks').rglob('*.png'))) == 4
