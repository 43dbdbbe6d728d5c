"""Data trees and seeds with anything wrong in them, through ``run_pipeline.py``."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import spoiling
from bench import SIZE, Bench, wrong_results
from doors import TRACE, Door, Ended, without_privileges
from spoiling import BYTES, FILES, FOLDERS, PICTURES, Planted, cases, rng_of, rounds

from wsss_plugins.structures import load_json

PHOTO, MASK = 'data/JPEGImages/c.jpg', 'data/SegmentationClass/c.png'
SEED = 'seeds/c.npz'
TEXTS = ('data/ImageSets/Segmentation/train.txt', 'data/classes.txt')
PLACES = (
    'data',
    'data/JPEGImages',
    'data/SegmentationClass',
    'data/Annotations',
    'seeds',
)


def run_and_judge(bench: Bench, door: Door, place: str) -> bool:
    """Runs the experiment; whether it was refused. What it has written is right."""
    ended = door('run_pipeline', *bench.command(), kept=bench.place)
    judge(bench, ended)
    return ended.refused


def judge(bench: Bench, ended: Ended) -> None:
    """What a run has written is right, and its error names a file of the data."""
    assert wrong_results(bench) == []
    named = str(bench.place) in ended.line or str(bench.work) in ended.line
    assert named or not ended.refused, ended.line


def assert_nothing_is_lost(bench: Bench, door: Door, whole: Path) -> None:
    """With the files of before, the same command ends with the results of a first run."""
    shutil.rmtree(bench.place)
    shutil.copytree(whole / 'bench', bench.place, symlinks=True)
    assert not run_and_judge(bench, door, '')
    assert results(bench.work) == results(whole / 'work')


def results(work: Path) -> dict[str, object]:
    """All label maps byte for byte, and all metrics."""
    maps = {p.name: p.read_bytes() for p in (work / 'pseudo/labels').glob('*.png')}
    records = sorted(work.glob('*/record.json'))
    return maps | {p.parent.name: load_json(p)['metrics'] for p in records}


@pytest.fixture
def whole(made_once, bench: Bench, door: Door) -> Path:
    """A folder with the experiment and its results."""

    def make(place: Path) -> None:
        assert not run_and_judge(bench, door, '')
        shutil.copytree(bench.place, place / 'bench', symlinks=True)
        shutil.move(bench.work, place / 'work')

    return made_once('whole', make)


def test_the_experiment_as_it_is(bench: Bench, door: Door, whole: Path) -> None:
    assert not run_and_judge(bench, door, '')
    found = results(bench.work)
    assert found == results(whole / 'work')
    assert len(found) == 6 + 4 and found['pseudo']['failed'] == 0


def test_a_wrong_result_is_seen(bench: Bench, whole: Path) -> None:
    """The second computation notices a pixel, a failure that is not told, and a metric."""
    shutil.copytree(whole / 'work', bench.work)
    assert wrong_results(bench) == []
    spoiling.other_file(bench.work / 'pseudo/labels/a.png', rng_of('other'))
    assert 'the label map of a is not that of its seed' in wrong_results(bench)
    (bench.work / 'pseudo/labels/b.png').unlink()
    assert any(said.startswith('label maps of') for said in wrong_results(bench))


ROWS = [
    *((place, kind, n) for place in (PHOTO, MASK) for kind, n in rounds(PICTURES)),
    *((place, kind, n) for place in (PHOTO, MASK, SEED) for kind, n in rounds(BYTES)),
    *((place, kind, n) for place in TEXTS for kind, n in rounds(BYTES)),
    *((place, kind, 0) for place in (PHOTO, MASK, SEED) for kind in FILES),
    *((place, kind, 0) for place in TEXTS for kind in FILES[:-1]),
    *((place, kind, 0) for place in PLACES for kind in FOLDERS),
]


@pytest.mark.parametrize(
    ('place', 'spoil', 'number'),
    cases(ROWS, quick=(f'{MASK}-huge_header-0', f'{SEED}-code-0', f'{PHOTO}-pipe-0')),
)
def test_a_spoilt_file(
    bench: Bench, door: Door, whole: Path, place, spoil, number
) -> None:
    spoil(bench.place / place, rng_of(place, spoil.__name__, number))
    if run_and_judge(bench, door, place) and number == 0:
        assert_nothing_is_lost(bench, door, whole)


def arrays(**more: object):
    """Replaces arrays of a seed; None takes one away."""

    def spoil(path: Path, rng: np.random.Generator) -> None:
        with np.load(path, allow_pickle=False) as found:
            content = {key: found[key] for key in found.files}
        for key, change in more.items():
            content[key] = change(content.get(key)) if callable(change) else change
        np.savez(path, **{k: v for k, v in content.items() if v is not None})

    return spoil


def planted(path: Path, rng: np.random.Generator) -> None:
    box = np.array([Planted(path.parent / TRACE)], dtype=object)
    np.savez(path, scores=box, classes=box)


def huge_array(path: Path, rng: np.random.Generator) -> None:
    """An array whose header asks for a terabyte."""
    import io
    import zipfile

    head = io.BytesIO()
    shape = dict(descr='<f4', fortran_order=False, shape=(2, 10**6, 10**5))
    np.lib.format.write_array_header_1_0(head, shape)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('scores.npy', head.getvalue())
        archive.writestr('classes.npy', head.getvalue())


SEEDS = {
    'no scores': arrays(scores=None),
    'no classes': arrays(classes=None),
    'NaN': arrays(scores=lambda s: s * np.nan),
    'infinite': arrays(scores=lambda s: s / np.float32(0)),
    'beyond float32': arrays(scores=lambda s: s.astype(float) * 1e300),
    'negative': arrays(scores=lambda s: -s),
    'half precision': arrays(scores=lambda s: s.astype(np.float16)),
    'integers': arrays(scores=lambda s: (s * 255).astype(np.uint8)),
    'complex': arrays(scores=lambda s: s * (1 + 1j)),
    'text': arrays(scores=lambda s: s.astype(str)),
    'times': arrays(scores=lambda s: s.astype(int).astype('m8[s]')),
    'a class too many': arrays(classes=np.array([0, 1, 1])),
    'a class twice': arrays(classes=np.array([1, 1])),
    'class below zero': arrays(classes=np.array([0, -1])),
    'class beyond': arrays(classes=np.array([0, 2])),
    'class 255': arrays(classes=np.array([0, 254])),
    'class 256': arrays(classes=np.array([0, 256])),
    'class beyond int64': arrays(classes=np.array([0, 2**63], np.uint64)),
    'half a class': arrays(classes=np.array([0.5, 1.5])),
    'classes as floats': arrays(classes=np.array([0.0, 1.0])),
    'classes as text': arrays(classes=np.array(['0', '1'])),
    'true and false': arrays(classes=np.array([False, True])),
    'other size': arrays(scores=lambda s: s[:, 1:]),
    'turned': arrays(scores=lambda s: s.transpose(0, 2, 1)),
    'flat': arrays(scores=lambda s: s.reshape(2, -1)),
    'one map': arrays(scores=lambda s: s[0]),
    'no maps': arrays(scores=np.zeros((0, *SIZE)), classes=np.zeros(0, int)),
    'no pixels': arrays(scores=np.zeros((2, 0, 0))),
    'background of another size': arrays(background=np.zeros((3, 3))),
    'background of text': arrays(background=np.full(SIZE, 'x')),
    'confidence of another length': arrays(confidence=np.zeros(5)),
    'more arrays': arrays(more=np.zeros(3), stranger=np.array('x')),
    'planted code': planted,
    'a terabyte': huge_array,
}


@pytest.mark.parametrize(
    'kind', cases(((kind,) for kind in SEEDS), quick=('half_a_class', 'planted_code'))
)
def test_a_wrong_seed(bench: Bench, door: Door, kind: str) -> None:
    SEEDS[kind](bench.place / SEED, rng_of(kind))
    run_and_judge(bench, door, SEED)


@pytest.mark.parametrize(
    'place', cases([(place,) for place in (PHOTO, MASK, SEED, *TEXTS, *PLACES)])
)
def test_what_cannot_be_read(bench: Bench, door: Door, whole: Path, place: str) -> None:
    path = bench.place / place
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with without_privileges(path):
            ended = door('run_pipeline', *bench.command())
    finally:
        path.chmod(mode)
    judge(bench, ended)
    assert_nothing_is_lost(bench, door, whole)


@pytest.mark.slow
@pytest.mark.parametrize('place', ['data/JPEGImages', 'data'])
def test_links_that_lead_in_circles(bench: Bench, door: Door, place: str) -> None:
    """A folder that lies in itself is walked once."""
    (bench.place / place / 'again').symlink_to('.')
    (bench.place / place / 'above').symlink_to('..')
    run_and_judge(bench, door, place)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['voc', 'photo', 'mask', 'list', 'folder'])
def test_the_doctor_ends_too(bench: Bench, door: Door, kind: str) -> None:
    """Of a tree in which many things are wrong at once, the doctor gives its report."""
    rng = rng_of('doctor', kind)
    for path in sorted(p for p in bench.data.rglob('*') if p.is_file()):
        if rng.random() < 0.5 and path.name != 'classes.txt':
            spoils = (*BYTES, *FILES, *(PICTURES if path.suffix != '.xml' else ()))
            try:
                spoils[rng.integers(len(spoils))](path, rng)
            except (OSError, ValueError, SyntaxError):  # a picture that is none by now
                continue
    ended = door('doctor', bench.data, kept=bench.place, codes=(1,))
    assert ended.refused or 'problem' in ended.said or 'healthy' in ended.said
