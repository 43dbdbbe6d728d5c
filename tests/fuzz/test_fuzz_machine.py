"""A disk that is full, folders that are read-only, and photos that no memory holds."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

import pytest
from bench import Bench, wrong_results
from doors import Door, without_privileges
from mounts import read_only, small_disk, with_mounts_of_its_own
from spoiling import cases, chunk
from trees import make_coco, make_folder, square

from wsss_plugins.structures import load_json

LABELME = dict(shapes=[dict(label='bird', points=[[1, 1], [5, 1], [5, 4]])])


def annotated(bench: Bench) -> Path:
    """A folder with a photo and its annotation of labelme."""
    folder = make_folder(bench.place / 'mine', [('a.png', '')])
    (folder / 'images/a.json').write_text(json.dumps(LABELME))
    return folder / 'images'


def run(bench: Bench, door: Door) -> str:
    """Runs the experiment; its one line, or '' where it did its work. All that is there is right."""
    line = door('run_pipeline', *bench.command(), kept=bench.place).line
    assert wrong_results(bench) == []
    return line


# Disks ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('size', ['16k', '32k', '64k', '96k'])
def test_a_disk_that_is_full(bench: Bench, door: Door, size: str) -> None:
    """Wherever the disk ends: one line, nothing that is wrong, and the run goes on later."""

    def work() -> None:
        bench.work.mkdir()
        small_disk(bench.work, size)
        assert run(bench, door).startswith('no space left to write ')
        small_disk(bench.work, '50m')
        assert run(bench, door) == ''
        assert load_json(bench.work / 'score/record.json')['done']

    with_mounts_of_its_own(work)


def commands(bench: Bench, place: Path) -> dict[str, list[object]]:
    """Commands that write below a folder."""
    out, photo = place / 'out', bench.data / 'JPEGImages/c.jpg'
    vit = ['--model', 'vit_tiny_patch16_224', '--untrained']
    return {
        'convert_seeds': [bench.seeds, out, '--from', 'wsss', '--to', 'psa'],
        'explain': [photo, *vit, '--out', f'{out}.png'],
        'prepare_data': ['labels', 'labelme', annotated(bench), '--copy', '--out', out],
        'doctor': [bench.data, '--json', f'{out}.json'],
        'run_pipeline': [bench.write(), '--work-dir', out],
    }


TOOLS = ('convert_seeds', 'explain', 'prepare_data', 'doctor', 'run_pipeline')


@pytest.mark.slow
@pytest.mark.parametrize('tool', TOOLS)
def test_a_disk_that_was_full_before(bench: Bench, door: Door, tool: str) -> None:
    place = bench.place.parent / 'disk'
    words = commands(bench, place)[tool]

    def work() -> None:
        place.mkdir()
        small_disk(place, '8k')
        file = os.open(place / 'filler', os.O_CREAT | os.O_WRONLY)
        try:
            while os.write(file, b'x' * 512):
                pass
        except OSError:
            os.close(file)
        assert 'no space left' in door(tool, *words, kept=bench.place).line
        assert {p.name for p in place.rglob('*') if p.is_file()} <= {'filler', '.lock'}

    with_mounts_of_its_own(work)


# Folders -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['mounted', 'permissions'])
def test_data_that_are_read_only(bench: Bench, door: Door, kind: str) -> None:
    """Data are read and never written."""
    if kind == 'mounted':
        with_mounts_of_its_own(
            lambda: (read_only(bench.place), run(bench, door) == '' or pytest.fail())
        )
        return
    for folder in (bench.place, *bench.place.rglob('*')):
        folder.chmod(0o555)
    with without_privileges(bench.place):
        assert run(bench, door) == ''


@pytest.mark.slow
@pytest.mark.parametrize('tool', TOOLS)
@pytest.mark.parametrize('kind', ['mounted', 'permissions'])
def test_a_folder_that_is_read_only(
    bench: Bench, door: Door, kind: str, tool: str
) -> None:
    """It is refused by its name, and what was in it stays."""
    place = bench.place.parent / 'locked'
    words = commands(bench, place)[tool]
    place.mkdir()
    (place / 'mine').write_text('mine')

    def work() -> None:
        line = door(tool, *words, kept=bench.place).line
        assert str(place) in line and 'cannot be written' in line
        assert [p.name for p in place.iterdir()] == ['mine']

    if kind == 'mounted':
        with_mounts_of_its_own(lambda: (read_only(place), work()))
        return
    place.chmod(0o555)
    with without_privileges(place):
        work()


@pytest.mark.slow
def test_results_in_a_read_only_folder(bench: Bench, door: Door) -> None:
    """A finished work dir that became read-only is refused, can be looked at, and is whole."""
    assert run(bench, door) == ''

    def work() -> None:
        read_only(bench.work)
        assert 'cannot be written, its file system is read-only' in run(bench, door)
        ended = door('run_pipeline', *bench.command(), '--dry-run', kept=bench.place)
        assert ended.said.count('done') == 4

    with_mounts_of_its_own(work)


# Memory --------------------------------------------------------------------------------


def large_picture(path: Path, side: int = 30_000) -> None:
    """A whole PNG of ``side`` x ``side`` pixels of one bit, which are all 0."""
    rows = zlib.compress(bytes((side // 8 + 1) * side), 1)
    head = struct.pack('>IIBBBBB', side, side, 1, 0, 0, 0, 0)
    parts = chunk(b'IHDR', head), chunk(b'IDAT', rows), chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(parts))


@pytest.fixture
def large(made_once) -> Path:
    """A picture of 900 million pixels in a file of 0.5 MB."""
    return (
        made_once('large', lambda place: large_picture(place / 'large.png'))
        / 'large.png'
    )


def as_photo(bench: Bench, large: Path) -> tuple[str, list[object], str]:
    target = bench.data / 'JPEGImages/c.jpg'
    target.write_bytes(large.read_bytes())
    return 'run_pipeline', bench.command(), 'c'


def as_mask(bench: Bench, large: Path) -> tuple[str, list[object], str]:
    target = bench.data / 'SegmentationClass/c.png'
    target.write_bytes(large.read_bytes())
    return 'run_pipeline', bench.command(), ''


def to_explain(bench: Bench, large: Path) -> tuple[str, list[object], str]:
    words = [large, *commands(bench, bench.place.parent)['explain'][1:]]
    return 'explain', words, ''


def to_examine(bench: Bench, large: Path) -> tuple[str, list[object], str]:
    as_photo(bench, large)
    as_mask(bench, large)
    return 'doctor', [bench.data], 'problem'


def to_annotate(bench: Bench, large: Path) -> tuple[str, list[object], str]:
    folder = annotated(bench)
    (folder / 'a.png').write_bytes(large.read_bytes())
    return 'prepare_data', ['labels', 'labelme', folder, '--out', bench.work], ''


def to_convert(bench: Bench, large: Path) -> tuple[str, list[object], str]:
    folder = bench.place / 'colours'
    folder.mkdir()
    (folder / 'a.png').write_bytes(large.read_bytes())
    words = ['convert-masks', folder, '--kind', 'colours', '--out', bench.work]
    return 'prepare_data', words, ''


def to_draw(bench: Bench, large: Path) -> tuple[str, list[object], str]:
    """An instances file that says that its photo has a million pixels a side."""
    root = make_coco(bench.place / 'coco', ['a.png'], [square(1)])
    file = root / 'annotations/instances_train2014.json'
    content = load_json(file)
    content['images'][0].update(height=10**6, width=10**6)
    file.write_text(json.dumps(content))
    words = ['--data-root', root, '--split', 'train2014', '--out', bench.work]
    return 'prepare_data', ['coco-masks', *words], ''


WAYS = (as_photo, as_mask, to_explain, to_examine, to_annotate, to_convert, to_draw)


@pytest.mark.parametrize('way', cases([(way,) for way in WAYS], quick=('as_mask',)))
def test_a_picture_of_30000_x_30000(bench: Bench, door: Door, large: Path, way) -> None:
    """It is refused from its header, or left out, within the memory of the door."""
    tool, words, found = way(bench, large)
    ended = door(tool, *words, kept=bench.place, codes=(1,))
    assert wrong_results(bench) == []
    if found:
        assert not ended.refused
        assert found in ended.said or found in load_json(
            bench.work / 'pseudo/failures.json'
        )
    else:
        assert ended.refused and 'memory' in ended.line.lower()
