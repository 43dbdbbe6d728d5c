"""Refining a folder of seeds with the command-line tool: killed, shared out, and broken."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from test_two_workers import free_port

from wsss_plugins.engine import StageRecord
from wsss_plugins.structures import PART_FILES, Seed, load_json

pytestmark = pytest.mark.slow
IDS = [f'photo_{i:02}' for i in range(16)]
CONFIG = """
pipeline = [
    dict(type='FolderStage', name='mine', path={root!r} + '/seeds'),
    dict(
        type='RefineStage', name='pseudo', seeds='mine', threshold='otsu', soft=True,
        dataset=dict(
            type='FolderWSSS', data_root={root!r}, split='all', classes=['cat', 'dog']
        ),
        refiners=[dict(type='ConstantBackground'), dict(type='DenseCRF', iterations=2)],
        workers=1,
    ),
]
"""
"""All that is needed to refine seeds of one's own."""


@pytest.fixture
def world(tmp_path) -> Path:
    """A folder of photos of two sizes, one of their seeds, and a config."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for i, name in enumerate(IDS):
        size = (20, 28) if i % 3 else (24, 18)
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f'images/{name}.png')
        scores = torch.from_numpy(rng.random((1 + i % 2, *size), np.float32))
        Seed(scores, torch.arange(1 + i % 2)).save(tmp_path / f'seeds/{name}.npz')
    rows = ['file,tags', *(f'{name}.png,' for name in IDS)]
    (tmp_path / 'all.csv').write_text('\n'.join(rows))
    (tmp_path / 'refine.py').write_text(CONFIG.format(root=str(tmp_path)))
    return tmp_path


def command(world: Path, work_dir: str, *options: str) -> list[str]:
    """The command line that refines."""
    tool, config = str(tiny.TOOLS / 'run_pipeline.py'), str(world / 'refine.py')
    return [tool, config, '--work-dir', str(world / work_dir), *options]


def results(world: Path, work_dir: str) -> dict[str, bytes]:
    """Every file of the stage but the record, which holds times."""
    folder = world / work_dir / 'pseudo'
    paths = [path for path in sorted(folder.rglob('*')) if path.is_file()]
    found = {str(p.relative_to(folder)): p.read_bytes() for p in paths}
    record = json.loads(found.pop('record.json'))
    assert record['done']
    return found | dict(metrics=json.dumps(record['metrics']).encode())


def test_killed_at_every_kind_of_file_and_run_again(world) -> None:
    """Broken seeds are there too: their list is one of the files."""
    (world / 'seeds/photo_05.npz').write_text('broken')
    tiny.run_python(*command(world, 'whole'))
    expected = results(world, 'whole')
    assert len(expected) == 2 * 15 + 4, 'and failures, threshold, config, metrics'
    die = Path(__file__).with_name('die_at.py')
    for pattern, count in [
        ('*/pseudo/record.json', 1),
        ('*/pseudo/threshold.json', 1),
        ('*/pseudo/seeds/*.npz', 3),
        ('*/pseudo/labels/*.png', 1),
        ('*/pseudo/labels/*.png', 6),
        ('*/pseudo/failures.json', 1),
        ('*/pseudo/record.json', 2),
    ]:
        dying = [die, pattern, str(count), *command(world, 'killed')]
        tiny.run_python(*dying, code=-signal.SIGKILL)
        assert list((world / 'killed/pseudo').glob(f'**/{PART_FILES}'))
        record = StageRecord.load(world / 'killed/pseudo')
        assert record is None or not record.done
        for path in (world / 'killed/pseudo/seeds').glob('[!.]*.npz'):
            assert path.read_bytes() == expected[f'seeds/{path.name}']
    tiny.run_python(*command(world, 'killed'))
    assert results(world, 'killed') == expected


def test_killed_with_its_pool_and_run_again_by_others(world) -> None:
    """Killed while two processes write; gone on with by one process, then by torchrun."""
    slowly = ['--cfg-options', 'pipeline.1.refiners.1.iterations=60']
    tiny.run_python(*command(world, 'whole', *slowly))
    expected = results(world, 'whole')
    two = command(world, 'killed', *slowly, 'pipeline.1.workers=2')
    tool = subprocess.Popen(
        [sys.executable, *two],
        cwd=tiny.ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    labels = world / 'killed/pseudo/labels'
    for _ in range(20000):
        if tool.poll() is not None or len(list(labels.glob('[!.]*'))) > 2:
            break
        time.sleep(0.01)
    tool.kill()
    tool.wait()
    made = {p: p.stat().st_mtime_ns for p in labels.glob('[!.]*')}
    assert 2 < len(made) < 16, 'it was killed in the middle'
    (world / 'killed/pseudo/threshold.json').unlink()  # two find the same as one
    port = free_port()
    script = tiny.TOOLS / 'dist_train.sh'
    _, config, *options = command(world, 'killed', *slowly)
    tiny.run('bash', script, config, 2, *options, PORT=port)
    assert results(world, 'killed') == expected
    assert all(path.stat().st_mtime_ns == made[path] for path in made)
    record = StageRecord.load(world / 'killed/pseudo')
    assert record is not None and record.environment['workers'] == 2
    assert record.provenance['threshold'] == 'label-free (otsu)'


def test_broken_input_is_named_and_gone_on_from_unless_it_is_strict(world) -> None:
    tiny.run_python(*command(world, 'whole'))
    expected = results(world, 'whole')
    aside = Path(shutil.copytree(world, world / 'aside'))
    nan = torch.full((1, 24, 18), torch.nan)
    Seed(nan, torch.tensor([0])).save(world / 'seeds/photo_00.npz')
    whole = (world / 'seeds/photo_01.npz').read_bytes()
    (world / 'seeds/photo_01.npz').write_bytes(whole[:100])
    Seed(torch.ones(1, 28, 20), torch.tensor([0])).save(world / 'seeds/photo_02.npz')
    Seed(torch.ones(1, 24, 18), torch.tensor([7])).save(world / 'seeds/photo_03.npz')
    (world / 'seeds/photo_04.npz').unlink()
    (world / 'images/photo_05.png').unlink()
    (world / 'images/photo_06.png').write_text('no picture')
    for options in (['--strict'], [], ['--cfg-options', 'pipeline.1.workers=2']):
        done = tiny.run_python(
            *command(world, 'out', *options), code=2 if '--strict' in options else 0
        )
        if 'workers' in str(options):
            assert ' left out: ' not in done.stderr, 'it is done'
            continue
        for i in range(7):
            folder, suffix = ('images', 'png') if i > 4 else ('seeds', 'npz')
            base = world if i > 4 else world / 'out/mine'
            path = f'{base}/{folder}/photo_0{i}.{suffix}'
            lines = [x for x in done.stderr.splitlines() if f'photo_0{i} left out' in x]
            assert len(lines) == 1 and path in lines[0]
        listed = world / 'out/pseudo/failures.json'
        assert f'pseudo: 7 of 16 images failed, see {listed}\n' in done.stderr
        assert list(load_json(listed)) == IDS[:7]
        assert done.stderr.splitlines()[-1].startswith('error: ') is (
            '--strict' in options
        )
        labels = {p.stem for p in (world / 'out/pseudo/labels').iterdir()}
        assert labels == set(IDS[7:])
    for folder in ('seeds', 'images'):
        shutil.copytree(aside / folder, world / folder, dirs_exist_ok=True)
    tiny.run_python(*command(world, 'out', '--strict'))  # photos and seeds have changed
    assert results(world, 'out') == expected


def test_every_image_broken(world) -> None:
    for path in (world / 'seeds').iterdir():
        path.write_bytes(b'')
    done = tiny.run_python(*command(world, 'out'), code=2)
    last = done.stderr.splitlines()[-1]
    assert last.startswith('error: ')
    assert f'{world}/out/mine/seeds/photo_00.npz is no readable .npz' in last
