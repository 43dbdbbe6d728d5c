"""The synthetic VOC data set: what is pinned, what is promised, what lies on disk."""

from __future__ import annotations

import hashlib
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run_script

from wsss_plugins.datasets import VOC12
from wsss_plugins.datasets.synthetic import (
    SYNTHETIC_CLASSES,
    RecombinedSpec,
    Scene,
    SyntheticSpec,
    render,
    render_scene,
    write_devkit,
)
from wsss_plugins.datasets.synthetic.figures import figure
from wsss_plugins.datasets.synthetic.raster import fill_polygons
from wsss_plugins.datasets.synthetic.scene import BODY_HUES, HEAD_HUES
from wsss_plugins.datasets.synthetic.spec import BODY_COLOURS, HEAD_COLOURS
from wsss_plugins.datasets.synthetic.texture import pink_noise
from wsss_plugins.errors import DataError
from wsss_plugins.structures import IGNORE, load_json, load_label_map

SPEC = SyntheticSpec()
COUNT = 400


@cache
def scenes() -> tuple[Scene, ...]:
    return tuple(render_scene(SPEC, 'train', index) for index in range(COUNT))


def sha256(arrays) -> str:
    return hashlib.sha256(b''.join(a.tobytes() for a in arrays)).hexdigest()


@pytest.mark.parametrize(
    ('spec', 'split', 'image_hash', 'label_hash'),
    [
        (SPEC, 'train', '68938ec023e54d1e', '7fc98ca6b8d560b2'),
        (SPEC, 'val', 'c3a273a9055fc637', 'bb28ebec2cc79301'),
        (
            SyntheticSpec(size=(48, 96), seed=3),
            'train',
            '5ce80fb002b72281',
            '2a204160a309f2a4',
        ),
    ],
)
def test_pixels_are_pinned(spec, split, image_hash, label_hash):
    images, labels = zip(*(render(spec, split, i) for i in range(8)), strict=True)
    assert images[0].shape == (*spec.size, 3)
    assert labels[0].shape == spec.size
    assert sha256(images)[:16] == image_hash
    assert sha256(labels)[:16] == label_hash


def test_mask_and_objects_agree():
    for scene in scenes():
        values = set(np.unique(scene.label)) - {0, IGNORE}
        names = {SYNTHETIC_CLASSES[value - 1] for value in values}
        assert names == {found.name for found in scene.objects} and names
        for value in values:
            assert (scene.label == value).sum() >= SPEC.min_visible


def test_boxes_are_tight_around_a_lone_object():
    lone = [s for s in scenes() if len(s.objects) == 1 and not (s.label == 255).any()]
    assert len(lone) > COUNT // 4
    for scene in lone:
        y, x = np.nonzero(scene.label)
        expected = (x.min() + 1, y.min() + 1, x.max() + 1, y.max() + 1)
        assert scene.objects[0].box == expected


def test_statistics_of_the_scenes():
    objects = [found for scene in scenes() for found in scene.objects]
    classes = [{found.name for found in scene.objects} for scene in scenes()]
    assert 1.4 < np.mean([len(names) for names in classes]) < 1.65
    shares = Counter(found.name for found in objects)
    assert min(shares.values()) > 0.11 * len(objects)
    assert max(shares.values()) < 0.23 * len(objects)
    assert 0.06 < np.mean([found.headless for found in objects]) < 0.14


def test_background_falls_off_as_one_over_f():
    rng = np.random.Generator(np.random.PCG64(0))
    fields = pink_noise(rng, (128, 128), 40).astype(np.float64)
    spectrum = np.abs(np.fft.fft2(fields, axes=(0, 1))).mean(2)
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128) * 128] * 2))
    bands = np.array([4, 8, 16, 32])
    power = [spectrum[(radius >= b) & (radius < 2 * b)].mean() for b in bands]
    slope = np.polyfit(np.log(bands), np.log(power), 1)[0]
    assert -2.0 < slope < -0.8


@pytest.mark.parametrize('name', SYNTHETIC_CLASSES)
def test_a_head_is_a_small_part_of_its_object(name):
    rng = np.random.Generator(np.random.PCG64(0))

    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(rng.random())

    for _ in range(20):
        parts = figure(name, draw, draw(*SPEC.head))
        outlines = [outline * 200 + (110 + 110j) for _, outline in parts]
        layer = fill_polygons((220, 220), outlines, [tone for tone, _ in parts])
        y, x = np.nonzero(layer)
        assert 198 <= max(np.ptp(x), np.ptp(y)) + 1 <= 202
        assert 0.04 < (layer >= 4).sum() / (layer > 0).sum() < 0.5


def test_fill_polygons_against_the_definition():
    rng = np.random.Generator(np.random.PCG64(0))
    for _ in range(20):
        outline = rng.integers(-5 * 16, 25 * 16, 7) + 1j * rng.integers(-80, 400, 7)
        outline = outline / 16
        got = fill_polygons((17, 23), [outline], [9])
        y, x = np.mgrid[:17, :23] + 0.5
        crossings, clear = np.zeros((17, 23), int), np.ones((17, 23), bool)
        for a, b in zip(outline, np.roll(outline, -1), strict=True):
            if a.imag != b.imag:
                at = a.real + (y - a.imag) / (b.imag - a.imag) * (b.real - a.real)
                crossings += ((a.imag <= y) != (b.imag <= y)) & (at <= x)
                clear &= np.abs(at - x) > 1e-9
        assert clear.mean() > 0.9
        np.testing.assert_array_equal((got == 9)[clear], (crossings % 2 == 1)[clear])


def test_later_polygons_lie_on_top_and_leave_the_canvas():
    square = np.array([0, 4, 4 + 4j, 4j])
    got = fill_polygons((4, 6), [square - 1, square + 2 + 2j, square + 50], [1, 2, 3])
    expected = np.zeros((4, 6), np.uint8)
    expected[:, :3] = 1
    expected[2:, 2:] = 2
    np.testing.assert_array_equal(got, expected)


def test_what_is_left_of_a_hidden_object_is_ignored():
    strict = SyntheticSpec(min_visible=150)
    dropped = 0
    for index in range(40):
        scene, label = render_scene(strict, 'train', index), scenes()[index].label
        ignored = scene.label == IGNORE
        assert (label[ignored] > 0).all()
        np.testing.assert_array_equal(scene.label[~ignored], label[~ignored])
        dropped += len(scenes()[index].objects) - len(scene.objects)
        assert ignored.any() == (len(scenes()[index].objects) > len(scene.objects))
    assert dropped > 5


def test_headless_objects_differ_by_a_small_part_only():
    whole, bare = SyntheticSpec(headless=0), SyntheticSpec(headless=1)
    changed = []
    for index in range(20):
        images = [render(spec, 'val', index)[0].astype(int) for spec in (whole, bare)]
        changed.append(np.mean(np.abs(images[0] - images[1]).max(2) > 30))
    assert np.median(changed) > 0.003 and max(changed) < 0.05


def test_ignore_border_rings_the_objects():
    label = render(SPEC, 'train', 3)[1]
    ringed = render(SyntheticSpec(ignore_border=1), 'train', 3)[1]
    kept = ringed != IGNORE
    np.testing.assert_array_equal(ringed[kept], label[kept])
    across = (label[:, 1:] != label[:, :-1]) & (kept[:, 1:] | kept[:, :-1])
    assert not kept.all() and not across.any()


@pytest.fixture(scope='module')
def devkit(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp('devkit')
    assert write_devkit(out, SyntheticSpec(size=(32, 48)), 40, 8, workers=2)
    return out / 'VOC2012'


def test_devkit_reads_as_voc(devkit):
    dataset = VOC12(devkit, 'train', labels='xml')
    assert len(dataset) == 40
    assert tuple(dataset.metainfo['classes'][1:]) == SYNTHETIC_CLASSES
    for index in range(40):
        info = dataset.get_data_info(index)
        image, label = render(SyntheticSpec(size=(32, 48)), 'train', index)
        stored = load_label_map(
            devkit / 'SegmentationClass' / f'{info["img_id"]}.png', num_classes=7
        )
        np.testing.assert_array_equal(stored, label)
        present = [c + 1 in label for c in range(6)]
        np.testing.assert_array_equal(np.asarray(info['gt_label']) > 0, present)
        with Image.open(info['img_path']) as photo:
            error = np.abs(np.asarray(photo, int) - image)
        assert error.mean() < 6


def test_id_lists_and_annotations(devkit):
    names = (devkit / 'ImageSets/Segmentation/val.txt').read_text().split()
    assert names == [f'val_{i:06d}' for i in range(8)]
    for c in SYNTHETIC_CLASSES:
        lines = (devkit / f'ImageSets/Main/{c}_val.txt').read_text().splitlines()
        for name, mark in (line.split() for line in lines):
            root = ET.parse(devkit / 'Annotations' / f'{name}.xml').getroot()
            found = {o.findtext('name') for o in root.iter('object')}
            assert mark == ('1' if c in found else '-1')
            assert root.findtext('size/width') == '48'


def test_files_do_not_depend_on_the_number_of_workers(devkit, tmp_path):
    write_devkit(tmp_path, SyntheticSpec(size=(32, 48)), 40, 8, workers=1)
    for path in sorted(devkit.rglob('*.*')):
        other = tmp_path / 'VOC2012' / path.relative_to(devkit)
        assert other.read_bytes() == path.read_bytes()


def test_a_complete_folder_is_left_alone(devkit):
    before = (devkit / 'complete.json').stat().st_mtime_ns
    spec = SyntheticSpec(size=(32, 48))
    assert not write_devkit(devkit.parent, spec, 40, 8, workers=1)
    assert (devkit / 'complete.json').stat().st_mtime_ns == before
    with pytest.raises(DataError, match='with seed 0, not 1: choose another folder'):
        write_devkit(devkit.parent, SyntheticSpec(size=(32, 48), seed=1), 40, 8)


def test_an_interrupted_run_is_noticed_and_written_again(tmp_path):
    class StoppedError(Exception):
        pass

    def stop(items, description, total):
        for done, item in enumerate(items):
            if done == 3:
                raise StoppedError
            yield item

    spec = SyntheticSpec(size=(32, 32))
    with pytest.raises(StoppedError):
        write_devkit(tmp_path, spec, 6, 2, workers=1, progress=stop)
    assert not (tmp_path / 'VOC2012/complete.json').exists()
    with pytest.raises(DataError, match='with train 6, not 7'):
        write_devkit(tmp_path, spec, 7, 2, workers=1)
    assert write_devkit(tmp_path, spec, 6, 2, workers=1)
    record = load_json(tmp_path / 'VOC2012/complete.json')
    labels = [
        render(spec, s, i)[1] for s, n in (('train', 6), ('val', 2)) for i in range(n)
    ]
    assert record['labels_sha256'] == sha256(labels)
    assert not (tmp_path / 'VOC2012/incomplete.json').exists()


def test_a_folder_of_other_files_is_never_overwritten(tmp_path):
    (tmp_path / 'VOC2012/JPEGImages').mkdir(parents=True)
    with pytest.raises(DataError, match='no synthetic data set: choose another folder'):
        write_devkit(tmp_path, SPEC, 1, 1, workers=1)


@pytest.mark.parametrize(
    ('spec', 'train', 'message'),
    [
        (dict(size=(8, 64)), 1, '8 x 64 pixels cannot be drawn: choose'),
        (dict(seed=-1), 1, 'the seed is -1: choose 0 or more'),
        (dict(objects=(0.5, 0.4)), 1, 'must sum to 1'),
        (dict(), 0, '0 training images.* choose at least one of each'),
    ],
)
def test_wrong_parameters(tmp_path, spec, train, message):
    with pytest.raises(DataError, match=message):
        write_devkit(tmp_path, SyntheticSpec(**spec), train, 1)
    assert not list(tmp_path.iterdir())


def test_tool(root, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        tool = [root / 'tools/prepare_data.py', 'synthetic']
        tool += ['--out', tmp_path, '--train', 3, '--val', 1, *arguments]
        return run_script(tool, root)

    done = run('--size', '32', '40', '--preview', str(tmp_path / 'sheet.png'))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith('VOC2012: written\n')
    assert load_json(tmp_path / 'VOC2012/complete.json')['size'] == [32, 40]
    with Image.open(tmp_path / 'sheet.png') as sheet:
        assert sheet.size == (2 * 8 * 2 * 40, 2 * 5 * 32)
    done = run('--size', '32', '40', '3')
    assert done.returncode == 2
    assert 'give one side, or height and width' in done.stderr
    assert done.stderr.count('\n') == 1


RECOMBINED = RecombinedSpec()


def test_recombined_pixels_are_pinned() -> None:
    images, labels = zip(
        *(render(RECOMBINED, 'train', i) for i in range(8)), strict=True
    )
    assert sha256(images)[:16] == 'b8f6f436c71455c0'
    assert sha256(labels)[:16] == 'b11e850cb6945be4'


def test_recombined_classes_say_the_colours_of_body_and_head() -> None:
    """The most frequent hue of an object is that of its body, its brightest that of its head."""
    assert len(RECOMBINED.classes) == len(set(RECOMBINED.classes)) == 36
    right = {'body': 0, 'head': 0}
    count = 0
    for index in range(60):
        scene = render_scene(RECOMBINED, 'train', index)
        for found in scene.objects:
            pixels = scene.image[
                scene.label == RECOMBINED.classes.index(found.name) + 1
            ]
            pixels = pixels.astype(float)
            for part, palette in (('body', BODY_COLOURS), ('head', HEAD_COLOURS)):
                colours = np.array(list(palette.values()), float)
                chroma = colours - colours.mean(1, keepdims=True)
                own = pixels - pixels.mean(1, keepdims=True)
                strong = np.linalg.norm(own, axis=1) > 80
                own = own[strong if part == 'head' else ~strong]
                if len(own):
                    near = (chroma @ own.sum(0)) / np.linalg.norm(chroma, axis=1)
                    best = list(palette)[int(near.argmax())]
                    right[part] += best == found.name.split('_')[part == 'head']
            count += 1
    assert right['body'] > 0.8 * count and right['head'] > 0.8 * count, (right, count)


def test_recombined_scenes_share_nothing_with_the_others() -> None:
    assert not set(RECOMBINED.classes) & set(SYNTHETIC_CLASSES)
    own = {tuple(c) for c in [*BODY_COLOURS.values(), *HEAD_COLOURS.values()]}
    theirs = {tuple(int(v) for v in c) for c in [*BODY_HUES, *HEAD_HUES]}
    assert not own & theirs
    plain = SyntheticSpec(size=RECOMBINED.size, seed=RECOMBINED.seed)
    corners = [
        render(spec, 'train', i)[0][:4, :4].tobytes()
        for spec in (plain, RECOMBINED)
        for i in range(20)
    ]
    assert len(set(corners)) == 40, 'not even a background'


def test_recombined_devkit_is_read_by_its_own_classes(tmp_path) -> None:
    write_devkit(tmp_path, RECOMBINED, train=6, val=2, workers=1)
    data = VOC12(tmp_path / 'VOC2012', 'train', pipeline=[])
    assert tuple(data.foreground_classes) == RECOMBINED.classes
    with pytest.raises(DataError, match='choose another folder'):
        write_devkit(tmp_path, SyntheticSpec(), train=6, val=2, workers=1)
