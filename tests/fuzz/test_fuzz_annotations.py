"""Annotations of COCO and of other tools with anything wrong in them.

Where ``prepare_data.py`` accepts a spoilt file, the tags that it writes are those that a
second, simple reader finds in the file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bench import Bench
from doors import Door
from PIL import Image
from readers import (
    Tags,
    counted,
    counts_said,
    tags_of_coco,
    tags_of_others,
    tags_of_table,
)
from spoiling import (
    BYTES,
    FILES,
    WRONG,
    cases,
    dotted,
    leaves,
    replaced,
    rng_of,
    rounds,
    without,
)
from trees import SIZE, make_coco, make_folder, square

# Annotations of COCO -------------------------------------------------------------------

RLE = dict(size=list(SIZE), counts=[0, 6, 54])
COCO = [square(1), square(2, 2, id=2), square(1, 1, segmentation=RLE, iscrowd=1)]


@pytest.fixture
def coco(bench: Bench) -> Path:
    """An instances file of two photos."""
    root = make_coco(bench.place / 'coco', ['a.png', 'b.png', 'c.png'], COCO)
    return root / 'annotations/instances_train2014.json'


def judge_coco(bench: Bench, door: Door, coco: Path) -> None:
    """Lists the images, draws their masks, and makes a folder of one's own of them."""
    root = coco.parents[1]
    images = dict(type='COCO14', data_root=str(root), split='train2014')
    said = counts_said(bench, door, images)
    if said is not None:
        assert {n: c for n, c in said.items() if c} == {
            name: count
            for name, count in counted(tags_of_coco(coco)).items()
            if name != 'toothbrush'  # of 80 classes the first 30 are said
        }
    out = bench.place.parent / 'masks'
    words = ('--data-root', root, '--split', 'train2014', '--out', out)
    door('prepare_data', 'coco-masks', *words, kept=bench.place)
    for path in out.rglob('*.png'):
        with Image.open(path) as image:
            values = np.unique(np.array(image))
        assert set(values) <= {0, 1, 2, 80, 255}
    prepared(bench, door, 'coco', coco, root / 'train2014', tags_of_coco)


def prepared(
    bench: Bench,
    door: Door,
    form: str,
    source: Path,
    images: Path,
    read: Callable[[Path], Tags],
) -> bool:
    """Whether ``prepare_data.py labels`` accepts a source; its table and masks are right."""
    out = bench.place.parent / f'{form}_out'
    words = ('--out', out, '--images', images, '--workers', 1)
    ended = door('prepare_data', 'labels', form, source, *words, kept=bench.place)
    if ended.refused:
        return False
    found = tags_of_table(out / 'photos.csv')
    expected = {Path(name).stem.casefold(): tags for name, tags in read(source).items()}
    assert found == expected
    for path in (out / 'masks').rglob('*.png'):
        with Image.open(path) as image:
            assert image.size == SIZE[::-1]
    return True


@pytest.mark.parametrize(
    ('spoil', 'number'),
    cases([*rounds(BYTES), *((k, 0) for k in FILES[:-1])]),
)
def test_a_spoilt_file_of_coco(
    bench: Bench, door: Door, coco: Path, spoil, number
) -> None:
    spoil(coco, rng_of('coco', spoil.__name__, number))
    judge_coco(bench, door, coco)


SMALL = dict(
    images=[dict(id=1, file_name='a.png', height=SIZE[0], width=SIZE[1])],
    annotations=[dict(square(1), id=1, bbox=[1, 1, 4, 3]), square(1, segmentation=RLE)],
    categories=[dict(id=1, name='person')],
)
PLACES = {dotted(p): p for p in leaves(SMALL) if len(p) < 6}


@pytest.mark.parametrize(
    ('place', 'value'),
    cases([(p, list(WRONG)[rng_of('coco', p).integers(len(WRONG))]) for p in PLACES]),
)
def test_a_wrong_value_in_coco(
    bench: Bench, door: Door, coco: Path, place, value
) -> None:
    content = replaced(SMALL, PLACES[place], WRONG[value])
    coco.write_text(json.dumps(content, default=str))
    judge_coco(bench, door, coco)


@pytest.mark.parametrize('place', cases([(place,) for place in PLACES]))
def test_a_missing_value_in_coco(bench: Bench, door: Door, coco: Path, place) -> None:
    coco.write_text(json.dumps(without(SMALL, PLACES[place])))
    judge_coco(bench, door, coco)


GEOMETRY = {
    'a photo of 30,000 pixels a side': ('images', 0, dict(height=30_000, width=30_000)),
    'a photo of a million pixels a side': (
        'images',
        0,
        dict(height=10**6, width=10**6),
    ),
    'a photo below zero': ('images', 0, dict(height=-5)),
    'a photo in fractions': ('images', 0, dict(height=5.5)),
    'corners far outside': ('annotations', 0, dict(segmentation=[[1e300] * 8])),
    'corners of no numbers': ('annotations', 0, dict(segmentation=[['a'] * 8])),
    'corners that are NaN': ('annotations', 0, dict(segmentation=[[float('nan')] * 8])),
    'odd corners': ('annotations', 0, dict(segmentation=[[1, 1, 5, 1, 5, 4, 1]])),
    'a run of a trillion': (
        'annotations',
        0,
        dict(segmentation=dict(RLE, counts=[10**12])),
    ),
    'runs below zero': (
        'annotations',
        0,
        dict(segmentation=dict(RLE, counts=[-1, 61])),
    ),
    'runs of text': ('annotations', 0, dict(segmentation=dict(RLE, counts='~~~~'))),
    'runs of another photo': (
        'annotations',
        0,
        dict(segmentation=dict(RLE, size=[9, 9])),
    ),
    'an area of text': ('annotations', 0, dict(area='x')),
    'a crowd of text': ('annotations', 0, dict(iscrowd='x')),
    'a name that leads out': ('images', 0, dict(file_name='../../x.png')),
    'an absolute name': ('images', 0, dict(file_name='/etc/passwd')),
    'a name with a null': ('images', 0, dict(file_name='a\0.png')),
    'a long name': ('images', 0, dict(file_name='x' * 5000)),
}


@pytest.mark.parametrize(
    'kind', cases([(kind,) for kind in GEOMETRY], quick=('a_run_of_a_trillion',))
)
def test_wrong_shapes_in_coco(bench: Bench, door: Door, coco: Path, kind: str) -> None:
    part, index, more = GEOMETRY[kind]
    content = replaced(SMALL, (part, index), {**SMALL[part][index], **more})
    coco.write_text(json.dumps(content))
    judge_coco(bench, door, coco)


# Annotations of other tools ------------------------------------------------------------

LABELME = dict(
    shapes=[
        dict(label='bird', points=[[1, 1], [5, 1], [5, 4]], shape_type='polygon'),
        dict(label='nest', points=[[2, 2], [6, 5]], shape_type='rectangle'),
        dict(label='egg', points=[[3, 3], [4, 3]], shape_type='circle'),
    ],
    imagePath='a.png', imageHeight=SIZE[0], imageWidth=SIZE[1], flags={},
)  # fmt: skip
BOX = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>4</ymax></bndbox>'
OTHERS = {
    'labelme': ('a.json', json.dumps(LABELME)),
    'voc': (
        'a.xml',
        f'<annotation><filename>a.png</filename><size><height>{SIZE[0]}</height>'
        f'<width>{SIZE[1]}</width></size><object><name>bird</name>{BOX}</object>'
        '<object><name>nest</name></object></annotation>',
    ),
    'yolo': ('a.txt', '0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.9 0.1 0.9 0.9\n'),
}


def annotated(bench: Bench, form: str) -> Path:
    folder = make_folder(bench.place / form, [('a.png', '')])
    name, text = OTHERS[form]
    (folder / 'labels').mkdir()
    (folder / 'labels' / name).write_text(text)
    if form == 'yolo':
        (folder / 'labels/classes.txt').write_text('bird\nnest\n')
    return folder / 'labels' / name


@pytest.mark.parametrize(
    ('form', 'spoil', 'number'),
    cases(
        (form, kind, n)
        for form in OTHERS
        for kind, n in [*rounds(BYTES), *((kind, 0) for kind in FILES[:-1])]
    ),
)
def test_a_spoilt_annotation_of_others(bench, door, form, spoil, number) -> None:
    path = annotated(bench, form)
    images = path.parents[1] / 'images'
    assert prepared(bench, door, form, path.parent, images, tags_of_others)
    shutil.rmtree(bench.place.parent / f'{form}_out')
    spoil(path, rng_of(form, spoil.__name__, number))
    prepared(bench, door, form, path.parent, images, tags_of_others)


LABELME_PLACES = {dotted(p): p for p in leaves(LABELME) if len(p) < 5}


@pytest.mark.parametrize(
    ('place', 'value'),
    cases(
        (place, list(WRONG)[rng_of('labelme', place).integers(len(WRONG))])
        for place in LABELME_PLACES
    ),
)
def test_a_wrong_value_in_labelme(bench, door, place: str, value: str) -> None:
    path = annotated(bench, 'labelme')
    content = replaced(LABELME, LABELME_PLACES[place], WRONG[value])
    path.write_text(json.dumps(content, default=str))
    images = path.parents[1] / 'images'
    prepared(bench, door, 'labelme', path.parent, images, tags_of_others)
