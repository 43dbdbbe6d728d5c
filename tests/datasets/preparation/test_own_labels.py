"""Labels of annotation tools become a table of tags and masks, by round trips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from own_annotations import (
    BIRD,
    CLASSES,
    NEST,
    PHOTOS,
    SIZE,
    SMALL,
    WRITERS,
    expected,
    picture,
    refusal,
    write_coco,
    write_labelme,
    write_photos,
    write_voc,
    write_yolo,
)
from PIL import Image
from trees import save_image

from wsss_plugins.datasets import FolderWSSS
from wsss_plugins.datasets.look import Looks
from wsss_plugins.datasets.preparation import prepare_labels
from wsss_plugins.structures import load_label_map

ORDERS = {
    'coco': CLASSES,
    'yolo': CLASSES,
    'voc': tuple(sorted(CLASSES)),
    'labelme': tuple(sorted(CLASSES)),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / 'photos')


def edit(path: Path, change) -> None:
    """Changes a JSON file."""
    content = json.loads(path.read_text('utf-8'))
    change(content)
    path.write_text(json.dumps(content), 'utf-8')


@pytest.mark.parametrize('format', WRITERS)
def test_round_trip(format: str, photos: Path, tmp_path: Path) -> None:
    source, out = WRITERS[format](tmp_path / 'labels'), tmp_path / 'out'
    done = prepare_labels(format, [source], out, images=photos)
    assert done.counts['photos'] == 4 and done.counts['masks'] == 4
    assert done.counts['photos_without_tags'] == 1
    data = FolderWSSS(out, 'all', label_maps='masks', test_mode=True)
    assert data.foreground_classes == ORDERS[format]
    assert data.ids == sorted(str(Path(name).with_suffix('')) for name in PHOTOS)
    for i, name in enumerate(sorted(PHOTOS)):
        shown = {data.foreground_classes[c] for c in np.flatnonzero(data.labels(i))}
        assert shown == {title for title, _ in PHOTOS[name]}
        found = load_label_map(data.get_data_info(i)['seg_map_path'])
        right = expected(PHOTOS[name], data.foreground_classes)
        assert np.array_equal(found, right), name
        assert (out / 'images' / name).read_bytes() == (photos / name).read_bytes()
    look = Looks(everything=True)(data)
    assert look.problems == () and look.doubts == ()


@pytest.mark.parametrize('format', WRITERS)
def test_again_is_nothing_to_do_and_other_labels_are_refused(
    format: str, photos: Path, tmp_path: Path
) -> None:
    source, out = WRITERS[format](tmp_path / 'labels'), tmp_path / 'out'
    assert prepare_labels(format, [source], out, images=photos).fresh
    (out / 'photos.csv').write_text((out / 'photos.csv').read_text() + '\n')
    again = prepare_labels(format, [source], out, images=photos)
    assert not again.fresh and again.counts['masks'] == 4
    WRITERS[format](source if source.is_dir() else source.parent, {'Möwe.jpg': [NEST]})
    message = refusal(format, [source], out, images=photos)
    assert f'{out} was prepared with options' in message
    message = refusal(format, [source], photos, images=photos)
    assert message.endswith(
        'holds files that no preparation wrote: choose another --out'
    )


def test_photos_that_lie_in_the_folder_are_left_there(tmp_path: Path) -> None:
    write_photos(tmp_path / 'own/images')
    source = write_labelme(tmp_path / 'own/images')
    prepare_labels('labelme', [source], tmp_path / 'own')
    assert not any(p.is_symlink() for p in tmp_path.rglob('*'))
    data = FolderWSSS(tmp_path / 'own', 'all', label_maps='masks', test_mode=True)
    assert len(data) == 4 and len(list((tmp_path / 'own/masks').rglob('*.png'))) == 4
    (tmp_path / 'own/prepared.json').unlink()
    message = refusal('labelme', [source], tmp_path / 'own')
    assert 'photos.csv is there already, and not from this tool' in message


def test_splits_of_several_sources(tmp_path: Path) -> None:
    parts = {'train': {'a.jpg': [BIRD], 'b.jpg': [NEST]}, 'val': {'a.jpg': [SMALL]}}
    sources = []
    for split, photos in parts.items():
        write_photos(tmp_path / split, photos)
        sources.append(f'{split}={write_coco(tmp_path / split, photos)}')
    prepare_labels('coco', sources, tmp_path / 'out')
    table = (tmp_path / 'out/photos.csv').read_text()
    assert table.splitlines() == [
        'file,split,tags', 'train/a.jpg,train,bird', 'train/b.jpg,train,nest',
        'val/a.jpg,val,bird',
    ]  # fmt: skip
    assert FolderWSSS(tmp_path / 'out', 'val').ids == ['val/a']
    bare = [source.partition('=')[2] for source in sources]
    message = refusal('coco', bare, tmp_path / 'other')
    assert "would both have the id 'a'" in message
    message = refusal('coco', [sources[0], bare[1]], tmp_path / 'other')
    assert message.startswith('some sources say their split')


def test_classes_that_are_taken(photos: Path, tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    chosen = tmp_path / 'chosen.txt'
    chosen.write_text('bird\n')
    out = tmp_path / 'out'
    done = prepare_labels('coco', [source], out, images=photos, classes=chosen)
    assert done.counts['objects_of_other_classes'] == 2
    assert done.counts['classes_without_objects'] == 1
    assert (out / 'classes.txt').read_text() == 'bird\n'
    found = load_label_map(out / 'masks/day 1/b.png')
    right = expected([NEST, BIRD, SMALL], CLASSES)
    assert np.array_equal(found, np.where(right == 2, 1, 0))
    chosen.write_text('bird\nNest\n')
    message = refusal('coco', [source], tmp_path / 'x', images=photos, classes=chosen)
    assert (
        "lists the class 'Nest', which the annotations do not know: did you" in message
    )


def test_photos_nobody_has_looked_at(photos: Path, tmp_path: Path) -> None:
    save_image(photos / 'more.jpg', 9, SIZE)
    source = write_yolo(tmp_path / 'labels')
    done = prepare_labels('yolo', [source], tmp_path / 'out', images=photos)
    assert done.counts['photos_without_annotation'] == 1
    assert not (tmp_path / 'out/images/more.jpg').exists()
    done = prepare_labels(
        'yolo', [source], tmp_path / 'all', images=photos, include_unlabelled=True
    )
    assert done.counts['photos'] == 5 and done.counts['masks'] == 4
    assert not (tmp_path / 'all/masks/more.png').exists(), 'its pixels are not known'


def test_boxes_give_tags_and_ignored_pixels(photos: Path, tmp_path: Path) -> None:
    source = write_coco(tmp_path)

    def boxes_alone(content: dict) -> None:
        for item in content['annotations'][2:3]:
            item['segmentation'] = []

    edit(source, boxes_alone)
    prepare_labels('coco', [source], tmp_path / 'out', images=photos)
    mask = load_label_map(tmp_path / 'out/masks/day 1/b.png')
    right = expected([NEST, SMALL], CLASSES)
    inside = np.zeros(SIZE, bool)
    inside[3:13, 2:12] = True
    assert np.array_equal(mask, np.where(inside & (right == 0), 255, right))
    edit(source, lambda c: [item.pop('segmentation') for item in c['annotations']])
    done = prepare_labels('coco', [source], tmp_path / 'tags', images=photos)
    assert done.counts['masks'] == 0 and not (tmp_path / 'tags/masks').exists()
    tags = FolderWSSS(tmp_path / 'tags', 'all')
    assert tags.labels(tags.ids.index('day 1/b')).tolist() == [1, 1, 0]


def test_crowds_and_run_lengths(photos: Path, tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    counts = [3, 4, 16, 4, SIZE[0] * SIZE[1] - 27]

    def change(content: dict) -> None:
        first = content['annotations'][0]
        first['segmentation'] = dict(size=list(SIZE), counts=counts)
        content['annotations'].append(
            {**first, 'id': 99, 'iscrowd': 1, 'segmentation': [[20, 0, 30, 0, 30, 5]]}
        )

    edit(source, change)
    prepare_labels('coco', [source], tmp_path / 'out', images=photos)
    mask = load_label_map(tmp_path / 'out/masks/day 1/a.png')
    assert np.array_equal(np.argwhere(mask.T == 2)[:, 0], [0] * 4 + [1] * 4)
    assert (mask[:, :2] == 2).sum() == 8 and (mask[:3, 27:] == 255).any()
    assert set(np.unique(mask)) == {0, 2, 255}


def test_shapes_of_labelme(photos: Path, tmp_path: Path) -> None:
    source = write_labelme(tmp_path / 'labels')
    half = np.zeros((4, 5), bool)
    half[:, :2] = True
    shapes = [
        dict(label='bird', shape_type='circle', points=[[20, 10], [25, 10]]),
        dict(
            label='nest', shape_type='mask', points=[[3, 4], [7, 7]], mask=picture(half)
        ),
        dict(label='__ignore__', shape_type='rectangle', points=[[30, 20], [28, 0]]),
        dict(
            label='_background_', shape_type='polygon', points=[[0, 0], [1, 0], [0, 1]]
        ),
        dict(label='bird', shape_type='rectangle', points=[[0, 18], [2, 20]]),
    ]
    edit(source / 'day 1/a.json', lambda c: c.update(shapes=shapes))
    edit(
        source / 'nothing.json',
        lambda c: c.update(
            shapes=[dict(label='bird', shape_type='point', points=[[1, 1]])]
        ),
    )
    done = prepare_labels('labelme', [source], tmp_path / 'out', images=photos)
    assert done.counts['masks'] == 3, 'a point does not say how far a bird reaches'
    data = FolderWSSS(tmp_path / 'out', 'all')
    assert data.foreground_classes == ('Möwe, jung', 'bird', 'nest')
    mask = load_label_map(tmp_path / 'out/masks/day 1/a.png')
    disc = np.pi * 25
    assert abs((mask == 2).sum() - disc) < 5 and mask[10, 20] == 2
    assert (mask[4:8, 3:5] == 3).all() and (mask == 3).sum() == 8
    assert (mask[:, 28:] == 255).all() and (mask[18:, :2] == 255).all()


@pytest.mark.parametrize('tool', ['turned', 'as stored'])
def test_photos_that_exif_turns(tool: str, tmp_path: Path) -> None:
    """Annotated as shown, or on the pixels as they are stored: the object stays on it."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[3:13, 2:12] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / 'photos').mkdir()
    Image.fromarray(pixels).save(tmp_path / 'photos/a.png', exif=exif)
    source = write_coco(tmp_path, {'a.png': [BIRD]})
    if tool == 'turned':
        # Orientation 6: the stored (x, y) is shown at (height - y, x).
        shown = [(SIZE[0] - y, x) for x, y in BIRD[1]]
        image = dict(id=0, file_name='a.png', height=SIZE[1], width=SIZE[0])
        flat = [v for corner in shown for v in corner]

        def turn(content: dict) -> None:
            content.update(images=[image])
            content['annotations'][0]['segmentation'] = [flat]

        edit(source, turn)
    prepare_labels('coco', [source], tmp_path / 'out', images=tmp_path / 'photos')
    data = FolderWSSS(tmp_path / 'out', 'all', label_maps='masks', test_mode=True)
    bright = np.zeros((SIZE[1], SIZE[0]), bool)
    bright[2:12, 7:17] = True
    assert np.array_equal(data.load_image(0)[..., 0] > 0, bright), 'the photo as shown'
    assert np.array_equal(data.load_mask(0) == 1, bright)


def test_boxes_and_polygons_of_yolo(photos: Path, tmp_path: Path) -> None:
    source = write_yolo(tmp_path / 'labels')
    (source / 'day 1/b.txt').write_text(
        '1 0.5 0.5 0.2 0.5\n\n0 0 0 1 0 1 0.25 0 0.25\n'
    )
    prepare_labels('yolo', [source], tmp_path / 'out', images=photos)
    mask = load_label_map(tmp_path / 'out/masks/day 1/b.png')
    assert (mask[:5] == 1).all() and (mask[5:15, 12:18] == 255).all()
    assert (mask != 0).sum() == 5 * 30 + 60


def test_names_of_yolo(tmp_path: Path) -> None:
    write_photos(tmp_path / 'set/images/train', {'a.jpg': []})
    source = write_yolo(tmp_path / 'set/labels/train', {'a.jpg': [BIRD]})
    (source / 'classes.txt').unlink()
    message = refusal('yolo', [source], tmp_path / 'out')
    assert 'give a file with a name in each line, --names FILE' in message
    for names in ('[nest, bird]', '{0: nest, 1: bird}', '\n- nest\n- bird'):
        (tmp_path / 'set/data.yaml').write_text(f'path: x\nnames: {names}\n')
        out = tmp_path / f'out {len(names)}'
        prepare_labels('yolo', [source], out)
        assert (out / 'photos.csv').read_text() == 'file,tags\na.jpg,bird\n'
    for text, words in (
        ('names: {1: a}', 'are not 0, 1, 2'),
        ('names: !!python/object/apply:os.system ["true"]', 'cannot be read as YAML'),
        ('kpt_shape: [17, 3]\nnames: [a]', 'of key points'),
        ('nc: 2', "has no 'names'"),
    ):
        (tmp_path / 'set/data.yaml').write_text(text)
        assert words in refusal('yolo', [source], tmp_path / 'x')


def test_files_of_voc_and_their_photos(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / 'photos', {'a.jpg': [], 'b.jpg': []})
    source = write_voc(tmp_path / 'labels', {'a.jpg': [BIRD], 'b.jpg': []})
    text = (source / 'a.xml').read_text()
    (source / 'a.xml').write_text(text.replace('a.jpg', 'b.jpg'))
    message = refusal('voc', [source], tmp_path / 'out', images=photos)
    assert 'a.xml has the name of a.jpg and says that it is of b.jpg' in message
    (source / 'a.xml').write_text(text.replace('>20<', '>0<').replace('a.jpg', 'A'))
    prepare_labels('voc', [source], tmp_path / 'out', images=photos)
    assert (load_label_map(tmp_path / 'out/masks/a.png') == 1).sum() == 100
