"""The archive for VOC's test server: what is in it, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import save_image

from wsss_plugins.datasets import VOC12
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.stages import SubmissionStage, submission
from wsss_plugins.stages.submission import check_archive, photo_sizes, write_archive
from wsss_plugins.structures import load_label_map, save_label_map, voc_palette

SIZES = {'2008_b': (6, 10), '2008_a': (9, 7), '2009_c': (5, 5)}
FOLDER = 'results/VOC2012/Segmentation/comp6_test_cls'


def make_tree(root: Path, sizes=None, classes: str | None = 'cat\ndog\n') -> VOC12:
    """A devkit with a test split, without labels of any kind."""
    sizes = sizes or SIZES
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (lists / 'test.txt').write_text('\n'.join(sizes))
    if classes:
        (root / 'classes.txt').write_text(classes)
    for i, (name, size) in enumerate(sizes.items()):
        save_image(root / f'JPEGImages/{name}.jpg', i, size)
    return VOC12(root, 'test', labels=None, test_mode=True)


@pytest.fixture
def dataset(tmp_path) -> VOC12:
    return make_tree(tmp_path / 'data')


@pytest.fixture
def predictions(tmp_path) -> Path:
    """Label maps of 0, 1 and 2, as a stage leaves them."""
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        label = rng.integers(3, size=size, dtype=np.uint8)
        save_label_map(tmp_path / f'predicted/labels/{name}.png', label)
    return tmp_path / 'predicted'


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}


def test_holds_each_prediction_once(tmp_path, dataset, predictions) -> None:
    path = tmp_path / 'out/results.tar.gz'
    write_archive(path, predictions, dataset, 6)
    found = members(path)
    assert list(found) == [f'{FOLDER}/{name}.png' for name in sorted(SIZES)]
    for name, size in SIZES.items():
        with Image.open(io.BytesIO(found[f'{FOLDER}/{name}.png'])) as image:
            assert image.mode == 'P' and image.size == size[::-1]
            assert image.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
            label = load_label_map(predictions / f'labels/{name}.png')
            assert np.array_equal(np.asarray(image), label)
    assert check_archive(path, photo_sizes(dataset), 3) == 6


def test_same_labels_give_the_same_bytes(tmp_path, dataset, predictions) -> None:
    first, second = tmp_path / 'a.tar.gz', tmp_path / 'b.tar.gz'
    write_archive(first, predictions, dataset, 5)
    for file in (predictions / 'labels').iterdir():
        os.utime(file, (1, 1))
        file.chmod(0o600)
    write_archive(second, predictions, dataset, 5)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        assert {(m.mtime, m.uid, m.uname, m.mode) for m in archive} == {
            (0, 0, '', 0o644)
        }
    assert first.read_bytes()[4:8] == b'\0\0\0\0', 'no time in the header of gzip'
    assert check_archive(first, SIZES, 3) == 5


def test_a_grey_label_map_gets_its_palette(tmp_path, dataset, predictions) -> None:
    label = load_label_map(predictions / 'labels/2008_a.png')
    Image.fromarray(label).save(predictions / 'labels/2008_a.png')
    path = tmp_path / 'x.tgz'
    write_archive(path, predictions, dataset, 6)
    with Image.open(io.BytesIO(members(path)[f'{FOLDER}/2008_a.png'])) as image:
        assert image.mode == 'P' and np.array_equal(np.asarray(image), label)


def spoil_missing(labels: Path) -> None:
    for name in ('2008_b', '2009_c'):
        (labels / f'{name}.png').unlink()


def spoil_size(labels: Path) -> None:
    save_label_map(labels / '2008_b.png', np.zeros((10, 6), np.uint8))


def spoil_colour(labels: Path) -> None:
    Image.new('RGB', (10, 6)).save(labels / '2008_b.png')


def spoil_class(labels: Path) -> None:
    save_label_map(labels / '2008_b.png', np.full((6, 10), 3, np.uint8))


def spoil_ignored(labels: Path) -> None:
    save_label_map(labels / '2008_b.png', np.full((6, 10), 255, np.uint8))


def spoil_bytes(labels: Path) -> None:
    path = labels / '2008_b.png'
    path.write_bytes(path.read_bytes()[:-20])


SPOILT = {
    spoil_missing: r"test image '2008_b' \(and 1 more\) is missing .* predict all 3",
    spoil_size: r'2008_b.png is 10x6 but its photo is 6x10',
    spoil_colour: r'2008_b.png is a colour picture \(mode RGB\)',
    spoil_class: r'2008_b.png has the value 3: allowed are 0 to 2',
    spoil_ignored: r'2008_b.png has the value 255: .* no pixel may be left out',
    spoil_bytes: r'2008_b.png cannot be decoded',
}


@pytest.mark.parametrize('spoil', SPOILT, ids=lambda f: f.__name__)
def test_refuses_to_write(tmp_path, dataset, predictions, spoil) -> None:
    """And leaves an earlier archive as it was, and nothing else."""
    path = tmp_path / 'out/results.tar.gz'
    write_archive(path, predictions, dataset, 6)
    before = path.read_bytes()
    spoil(predictions / 'labels')
    with pytest.raises(DataError, match=SPOILT[spoil]) as error:
        write_archive(path, predictions, dataset, 6)
    assert '\n' not in str(error.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def official_ids() -> list[str]:
    return [f'2008_{i:06}' for i in range(1456)]


def test_needs_the_official_ids_with_the_classes_of_voc(tmp_path, monkeypatch) -> None:
    ids = official_ids()
    mark = hashlib.sha256('\n'.join(ids).encode()).hexdigest()
    monkeypatch.setattr(submission, 'VOC_TEST_IDS', mark)
    sizes = dict.fromkeys(reversed(ids), (2, 3))
    whole = make_tree(tmp_path / 'whole', sizes, classes=None)
    assert photo_sizes(whole) == sizes
    for name in ids:
        save_label_map(tmp_path / f'labels/{name}.png', np.full((2, 3), 20, np.uint8))
    path = tmp_path / 'all.tar.gz'
    write_archive(path, tmp_path, whole, 6)
    assert check_archive(path, sizes, 21) == 6 and len(members(path)) == 1456
    lists = whole.root / 'ImageSets/Segmentation/test.txt'
    for listed in (ids[:-1], [*ids[:-1], 'other']):
        lists.write_text('\n'.join(listed))
        save_image(whole.root / 'JPEGImages/other.jpg')
        dataset = VOC12(whole.root, 'test', labels=None, test_mode=True)
        with pytest.raises(DataError, match=f"'test' lists {len(listed)} .* 1456 of"):
            write_archive(path, tmp_path, dataset, 6)


def test_knows_the_official_ids(shared) -> None:
    path = shared / 'data/voc12_lists/test_id.txt'
    if not path.is_file():
        pytest.skip('the list of test ids is not here')
    ids = sorted(path.read_text().split())
    assert len(ids) == 1456
    mark = hashlib.sha256('\n'.join(ids).encode()).hexdigest()
    assert mark == submission.VOC_TEST_IDS


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, 'w:gz') as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.split('#')[0])
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def png(label: np.ndarray, mode: str = 'P') -> bytes:
    image = Image.fromarray(label.astype(np.uint8))
    if mode == 'P':
        image.putpalette(voc_palette().ravel().tolist())
    else:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, format='PNG')
    return stream.getvalue()


def whole_archive() -> dict[str, bytes]:
    return {f'{FOLDER}/{name}.png': png(np.ones(s)) for name, s in SIZES.items()}


def test_accepts_what_tar_packs(tmp_path) -> None:
    """With folders on the way, and names that begin with './'."""
    for name, content in whole_archive().items():
        path = tmp_path / 'mine' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for base in ('results', '.'):
        archive = shutil.make_archive(
            str(tmp_path / 'made'), 'gztar', tmp_path / 'mine', base
        )
        with tarfile.open(archive) as made:
            assert any(member.isdir() for member in made)
        assert check_archive(Path(archive), SIZES, 3) == 6


B = f'{FOLDER}/2008_b.png'
FIVE = B.replace('comp6', 'comp5')
CHANGES = {
    'missing': ({B: None}, r"holds 2 of 3 test images: '2008_b' is missing"),
    'extra': ({f'{FOLDER}/9.png': b''}, r'holds .*/9.png, which is no test image'),
    'misplaced': ({B: None, '2008_b.png': b''}, 'holds 2008_b.png, which is no test'),
    'mac': ({f'{FOLDER}/._2008_b.png': b''}, r'\._2008_b.png, which is no test'),
    'twice': ({f'{B}#': png(np.ones((6, 10)))}, "holds the image '2008_b' twice"),
    'other': ({B: None, FIVE: png(np.ones((6, 10)))}, 'both comp5 and comp6'),
    'colour': ({B: png(np.ones((6, 10)), 'RGB')}, 'is a PNG of mode RGB'),
    'grey': ({B: png(np.ones((6, 10)), 'L')}, 'is a PNG of mode L'),
    'turned': ({B: png(np.ones((10, 6)))}, 'is 10x6 but its photo is 6x10'),
    'class': ({B: png(np.full((6, 10), 3))}, 'has the value 3: allowed are 0 to 2'),
    'ignored': ({B: png(np.full((6, 10), 255))}, 'has the value 255'),
    'no png': ({B: b'hello'}, 'cannot be decoded'),
    'cut png': ({B: png(np.random.default_rng(0).integers(3, size=(6, 10)))[:-30]},
                'cannot be decoded'),
}  # fmt: skip


@pytest.mark.parametrize('case', CHANGES)
def test_check_refuses(tmp_path, case: str) -> None:
    changes, message = CHANGES[case]
    files = {**whole_archive(), **changes}
    path = pack(
        tmp_path / 'x.tar.gz', {k: v for k, v in files.items() if v is not None}
    )
    with pytest.raises(DataError, match=message) as error:
        check_archive(path, SIZES, 3)
    assert '\n' not in str(error.value)
    assert str(path) in str(error.value)


def test_check_refuses_a_link(tmp_path) -> None:
    path = tmp_path / 'x.tar.gz'
    with tarfile.open(path, 'w:gz') as archive:
        member = tarfile.TarInfo(B)
        member.type, member.linkname = tarfile.SYMTYPE, '/etc/hostname'
        archive.addfile(member)
    with pytest.raises(DataError, match='which is no plain file'):
        check_archive(path, SIZES, 3)


def test_check_refuses_what_is_no_archive(tmp_path) -> None:
    path = pack(tmp_path / 'x.tar.gz', whole_archive())
    content = path.read_bytes()
    unpacked = gzip.decompress(content)
    for spoilt in (content[:-1], content[:-40], content[:100], b'', b'hello', unpacked):
        path.write_bytes(spoilt)
        with pytest.raises(DataError, match=r'is no whole \.tar\.gz'):
            check_archive(path, SIZES, 3)
    with pytest.raises(DataError, match=re.escape(f'{tmp_path}/y does not exist')):
        check_archive(tmp_path / 'y', SIZES, 3)


def test_stage(tmp_path, dataset, predictions) -> None:
    config = dict(type='VOC12', data_root=str(dataset.root), split='test', labels=None)
    stage = SubmissionStage('sent', 'predicted', config, competition=5)
    metrics = stage.run(tmp_path / 'sent', dict(predicted=predictions))
    path = tmp_path / 'sent/submission.tar.gz'
    assert metrics == dict(images=3, megabytes=round(path.stat().st_size / 1e6, 3))
    assert check_archive(path, SIZES, 3) == 5
    assert stage.provenance()['competition'].startswith('comp5: trained on VOC 2012')


def test_there_are_two_competitions() -> None:
    with pytest.raises(
        ConfigError, match='competition must be 5 or 6, not 7: 5 is for'
    ):
        SubmissionStage('sent', 'predicted', dict(type='VOC12'), competition=7)
