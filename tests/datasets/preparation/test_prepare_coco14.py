"""COCO 2014 from zips and folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from archive_trees import cut, files_of, pack_zip
from PIL import Image
from trees import SIZE, make_coco, save_image, square

from wsss_plugins.datasets import COCO14, write_coco_label_maps
from wsss_plugins.datasets.coco14 import COCO_CATEGORIES
from wsss_plugins.datasets.preparation import prepare_coco14
from wsss_plugins.datasets.preparation.coco14 import COCO_COUNTS, COCO_LABELLED
from wsss_plugins.errors import DataError
from wsss_plugins.structures import load_label_map, load_npz, save_label_map

IMAGES = [f'COCO_train2014_{i:012}.jpg' for i in (9, 25, 30)]
JSON = 'annotations/instances_train2014.json'


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    large = square(90, 1, segmentation=[[0, 0, 10, 0, 10, 6, 0, 6]], area=60)
    return make_coco(tmp_path / 'given', IMAGES, [large, square(1, 1), square(2, 3)])


@pytest.fixture
def prepare(coco: Path, tmp_path: Path):
    def run(sources=(coco,), out=tmp_path / 'out', **options):
        return prepare_coco14(
            sources, out, **(dict(any_count=True, workers=2) | options)
        )

    return run


@pytest.fixture
def refused(prepare):
    def run(*arguments, **options) -> str:
        with pytest.raises(DataError) as caught:
            prepare(*arguments, **options)
        assert '\n' not in str(caught.value)
        return str(caught.value)

    return run


def edit(coco: Path, change) -> None:
    content = json.loads((coco / JSON).read_text())
    change(content)
    (coco / JSON).write_text(json.dumps(content))


def test_the_data_set_reads_it(prepare) -> None:
    done = prepare()
    assert done.counts == dict(train2014=3, train2014_unlabelled=1)
    dataset = COCO14(done.root, 'train2014')
    assert dataset.ids == [Path(IMAGES[0]).stem, Path(IMAGES[2]).stem]
    maps = 'SegmentationClass/train2014'
    everything = COCO14(done.root, 'train2014', label_maps=maps, test_mode=True)
    assert len(everything) == 3
    found = everything.load_mask(0)
    assert found[5, 9] == 80 and found[2, 2] == 1, 'the small one on top'
    assert not everything.load_mask(1).any()
    with pytest.raises(DataError, match='no weak supervision'):
        COCO14(done.root, 'train2014', label_maps=maps)


def test_maps_are_those_of_the_single_command(prepare, coco, tmp_path) -> None:
    root = prepare().root
    folder = write_coco_label_maps(coco, 'train2014', tmp_path / 'drawn')
    assert files_of(folder) == files_of(root / 'SegmentationClass/train2014')


def test_labels_and_id_map(prepare) -> None:
    root = prepare().root
    labels = load_npz(root / 'cls_labels_train2014.npz')
    assert labels['names'].tolist() == [Path(name).stem for name in IMAGES]
    assert [np.flatnonzero(row).tolist() for row in labels['labels']] == [
        [0, 79],
        [],
        [1],
    ]
    rows = [
        line.split(',') for line in (root / 'label_ids.csv').read_text().splitlines()
    ]
    assert rows[0] == ['value', 'category_id', 'name'] and len(rows) == 83
    assert rows[1] == ['0', '', 'background'] and rows[-1] == ['255', '', 'ignored']
    assert {int(c): n for v, c, n in rows[2:-1]} == COCO_CATEGORIES
    assert [int(v) for v, _, _ in rows[2:-1]] == list(range(1, 81))


def test_zips_give_the_same_as_folders(prepare, coco, tmp_path) -> None:
    expected = files_of(prepare().root)
    zips = [
        pack_zip([coco / f], tmp_path / f'{f}.zip')
        for f in ('train2014', 'annotations')
    ]
    found = files_of(prepare(zips, tmp_path / 'zipped').root)
    assert found.pop('prepared.json') != expected.pop('prepared.json')
    assert found == expected
    parts = [coco / 'train2014', coco / JSON]
    parted = files_of(prepare(parts, tmp_path / 'parted').root)
    parted.pop('prepared.json')
    assert parted == expected


def test_in_place(prepare, coco) -> None:
    before = files_of(coco)
    done = prepare(out=coco)
    after = files_of(coco)
    assert done.root == coco and {n: after[n] for n in before} == before
    assert len(list((coco / 'SegmentationClass/train2014').iterdir())) == 3
    shutil.rmtree(coco / 'SegmentationClass')
    (coco / 'prepared.json').unlink()
    (coco / 'SegmentationClass').mkdir()
    with pytest.raises(DataError, match='SegmentationClass is there already'):
        prepare(out=coco)


def test_stopped_and_run_again_gives_the_same(prepare, tmp_path, monkeypatch) -> None:
    whole = files_of(prepare().root)
    replace = Path.replace
    for stop in range(2, len(whole), 3):
        written = 0

        def stopping(self: Path, target: Path, stop=stop) -> Path:
            nonlocal written
            written += 1
            if written == stop:
                raise KeyboardInterrupt
            return replace(self, target)

        out = tmp_path / f'stopped_{stop}'
        with monkeypatch.context() as patch:
            patch.setattr(Path, 'replace', stopping)
            with pytest.raises(KeyboardInterrupt):
                prepare(out=out)
        assert files_of(prepare(out=out).root) == whole


def write_maps(folder: Path, kind: int) -> Path:
    """Maps of the three images, with ids of one kind or the other."""
    shown = {IMAGES[0]: (80, 1), IMAGES[1]: (0, 0), IMAGES[2]: (2, 0)}
    ids = {0: 0, **{c + 1: k for c, k in enumerate(COCO_CATEGORIES)}}
    for name, (left, right) in shown.items():
        values = [left, right] if kind == 80 else [ids[left], ids[right]]
        mask = np.repeat(np.array([values], np.uint8), (5, 5), 1).repeat(SIZE[0], 0)
        folder.mkdir(exist_ok=True, parents=True)
        Image.fromarray(mask).save(folder / f'{Path(name).stem[-12:]}.png')
    return folder


@pytest.mark.parametrize('kind', [80, 91])
def test_given_label_maps(prepare, tmp_path, kind) -> None:
    folder = write_maps(tmp_path / 'maps', kind)
    root = prepare(label_maps=folder, ids=kind).root
    found = load_label_map(
        root / f'SegmentationClass/train2014/{Path(IMAGES[0]).stem}.png'
    )
    assert (found[:, :5] == 80).all() and (found[:, 5:] == 1).all()
    zipped = pack_zip([folder], tmp_path / 'maps.zip')
    again = prepare(label_maps=zipped, ids=kind, out=tmp_path / 'again').root
    assert files_of(again / 'SegmentationClass') == files_of(root / 'SegmentationClass')


def test_given_label_maps_of_the_other_kind(refused, tmp_path) -> None:
    text = refused(label_maps=write_maps(tmp_path / '91', 91), ids=80)
    assert 'has the value 90: allowed are 0 to 80 and 255' in text
    assert text.endswith('maps of category ids (1 to 90) need --ids 91')
    text = refused(label_maps=write_maps(tmp_path / '80', 80), ids=91)
    assert (
        "shows 'toaster', which its image is not annotated with: give --ids 80" in text
    )
    gap = write_maps(tmp_path / 'gap', 80)
    save_label_map(gap / '000000000025.png', np.full(SIZE, 12, np.uint8))
    (gap / '000000000030.png').unlink()
    assert 'has no label map COCO_train2014_000000000030.png' in refused(label_maps=gap)


def test_the_message_followed_in_the_same_folder(prepare, refused, tmp_path) -> None:
    maps = write_maps(tmp_path / '91', 91)
    with Image.open(maps / '000000000009.png') as image:
        low = np.where(np.array(image) == 90, 0, 1).astype(np.uint8)
    save_label_map(maps / '000000000009.png', low)  # taken before one is refused
    save_label_map(maps / '000000000030.png', np.full(SIZE, 90, np.uint8))
    refused(label_maps=maps, ids=80)
    assert (tmp_path / 'out/SegmentationClass').exists()
    write_maps(maps, 91)
    found = files_of(prepare(label_maps=maps, ids=91).root)
    expected = prepare(label_maps=maps, ids=91, out=tmp_path / 'fresh').root
    assert found == files_of(expected)


def test_a_category_id_that_looks_like_a_class(refused, coco, tmp_path) -> None:
    """No value above 80 gives it away; the annotations do."""
    edit(coco, lambda c: c.update(annotations=[square(70, 1)]))
    edit(coco, lambda c: c['categories'].append(dict(id=70, name='toilet')))
    folder = tmp_path / 'maps'
    for name in IMAGES:
        value = 70 if name == IMAGES[0] else 0
        save_label_map(
            folder / f'{Path(name).stem}.png', np.full(SIZE, value, np.uint8)
        )
    text = refused(label_maps=folder)
    assert (
        "shows 'oven', which its image is not annotated with: give --ids 91 if" in text
    )


def test_bad_input(refused, coco, tmp_path) -> None:
    text = refused(any_count=False)
    assert text.startswith(
        'instances_train2014.json has 3 images, the official one 82,783: give the whole'
    )
    text = refused([coco / 'train2014'])
    assert 'has no annotations/instances_train2014.json and none of val2014' in text
    assert text.endswith('or the folders that are in them')
    photo = coco / 'train2014' / IMAGES[1]
    whole = photo.read_bytes()
    save_image(photo, size=(10, 6))
    assert (
        f'train2014/{IMAGES[1]} is 10 x 6 (H x W), its annotations say 6 x 10'
        in refused()
    )
    photo.write_bytes(whole)
    cut(photo, 0.8)
    assert f'{photo} cannot be decoded' in refused()
    photo.unlink()
    assert '1 of 3 photos of train2014 are missing, the first is' in refused()
    cut(coco / JSON)
    assert 'instances_train2014.json is no instances file of COCO' in refused(
        out=tmp_path / 'other'
    )


def test_a_variant_with_other_category_ids(refused, coco) -> None:
    """Ids 1 to 80 without gaps, as some conversions number them."""
    edit(coco, lambda c: c['categories'][2].update(id=80))
    text = refused()
    assert 'has the category id 80 (toothbrush), which COCO has not' in text


def test_damaged_zips(refused, coco, tmp_path) -> None:
    photos = pack_zip([coco / 'train2014'], tmp_path / 'train2014.zip')
    lists = pack_zip([coco / 'annotations'], tmp_path / 'annotations_trainval2014.zip')
    assert f'{tmp_path / "cut.zip"} is cut off or damaged' in refused(
        [cut(photos.rename(tmp_path / 'cut.zip')), lists]
    )
    photos = pack_zip([coco / 'train2014'], tmp_path / 'train2014.zip')
    data = bytearray(photos.read_bytes())
    data[data.index((coco / 'train2014' / IMAGES[1]).read_bytes()) + 99] ^= 1
    photos.write_bytes(data)
    text = refused([photos, lists])
    assert f'{photos}: train2014/{IMAGES[1]} is cut off or damaged (Bad CRC-32' in text


def test_too_small_a_disk(refused, coco, tmp_path, monkeypatch) -> None:
    zips = [
        pack_zip([coco / f], tmp_path / f'{f}.zip')
        for f in ('train2014', 'annotations')
    ]
    usage = shutil._ntuple_diskusage(100, 90, 10)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    assert 'more, but its disk has only 10 bytes free' in refused(zips)
    assert not (tmp_path / 'out').exists()


def test_official_counts_are_those_of_the_lists(shared: Path) -> None:
    lists = load_npz(shared / 'data/voc12_lists/coco14_ids_mctformer.npz')
    assert {f'{s}2014': len(lists[s]) for s in ('train', 'val')} == COCO_COUNTS
    assert dict(train2014=82783 - 702, val2014=40504 - 367) == COCO_LABELLED


def test_coco128(shared: Path, tmp_path: Path) -> None:
    done = prepare_coco14([shared / 'data/coco128'], tmp_path / 'coco', any_count=True)
    assert done.counts == dict(train2014=128, train2014_unlabelled=2)
    dataset = COCO14(done.root, 'train2014')
    labels = load_npz(done.root / 'cls_labels_train2014.npz')
    rows = dict(zip(labels['names'].tolist(), labels['labels'], strict=True))
    for i, name in enumerate(dataset.ids):
        np.testing.assert_array_equal(rows[name], dataset.labels(i))
