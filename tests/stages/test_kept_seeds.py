"""Seeds at every resolution: what the stage keeps, and that all who read them agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refining import IDS, SIZES, write_world
from trees import save_image

from wsss_plugins.engine import Stage, flow
from wsss_plugins.errors import ConfigError
from wsss_plugins.stages import (
    ConfidentLabelStage,
    EvaluateSeedStage,
    ExportSeedStage,
    RefineStage,
    SeedStage,
)
from wsss_plugins.structures import Seed, load_npz, save_label_map
from wsss_plugins.structures.layout import seed_path
from wsss_plugins.structures.seed import SmallSeed
from wsss_plugins.structures.small_maps import SmallMaps, Step

SIZE = (56, 88)
HEAD = dict(type='CAM', floor='minimum')


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos with classes, one without, and one that is damaged."""
    for i in range(3):
        save_image(tmp_path / f'images/p{i}.png', i, SIZE)
    (tmp_path / 'images/p3.png').write_bytes(b'no picture')
    rows = ['file,tags', 'p0,cat;dog', 'p1,dog', 'p2,', 'p3,cat']
    (tmp_path / 'train.csv').write_text('\n'.join(rows))
    return tmp_path


@pytest.fixture
def make(photos, tiny_classifier, monkeypatch):
    """Runs the stage with a small classifier; its folder."""
    torch.manual_seed(1)
    model = tiny_classifier().eval()
    monkeypatch.setattr('wsss_plugins.stages.seed.load_trained', lambda *_: model)
    data = dict(type='FolderWSSS', data_root=str(photos), split='train',
                classes=('bird', 'cat', 'cow', 'dog', 'fish'))  # fmt: skip

    def run(name: str, **arguments: Any) -> Path:
        stage = SeedStage(name, 'net', HEAD, data, **arguments)
        assert stage.run(photos / name, dict(net=Path('net')))['failed'] == 1
        return photos / name

    return run


def loaded(folder: Path) -> dict[str, Seed]:
    return {f'p{i}': Seed.load(seed_path(folder, f'p{i}')) for i in range(3)}


def closest(found: dict[str, Seed], expected: dict[str, Seed]) -> float:
    """The largest difference of a score."""
    assert all(found[n].classes.equal(s.classes) for n, s in expected.items())
    return max(
        float((found[n].scores - s.scores).abs().max())
        for n, s in expected.items()
        if len(s.classes)
    )


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(align_corners=True, scales=(0.5, 1.0)),
        dict(max_side=44, scales=(1.0, 1.5)),
        dict(input_size=(64, 64)),
    ],
    ids=lambda given: '-'.join(given) or 'plain',
)
def test_maps_are_kept_without_loss(make, options) -> None:
    full = loaded(make('full', resolution='full', half=False, **options))
    small = make('small', half=False, **options)
    assert closest(loaded(small), full) < 2e-6
    shape = load_npz(seed_path(small, 'p0'))['scores'].shape
    assert shape[0] == 2 and shape[1] <= SIZE[0] / 4, 'the grid of the patches'
    assert 0 < closest(loaded(make('half', **options)), full) < 1e-3
    with np.load(seed_path(small, 'p2')) as arrays:
        assert arrays['scores'].size == 0 and arrays['steps'][-1, :2].tolist() == [
            *SIZE
        ]


@pytest.mark.parametrize('options', [{}, dict(max_side=44), dict(tile=32, overlap=8)])
def test_a_share_of_the_sides(make, options) -> None:
    options |= dict(scales=(1.0, 1.5))
    full = loaded(make('full', resolution='full', **options))
    quarter = make('quarter', resolution=0.25, **options)
    copy = (28, 44) if 'max_side' in options else SIZE
    kept = load_npz(seed_path(quarter, 'p0'))['scores']
    assert kept.dtype == np.float16 and kept.shape == (2, copy[0] // 4, copy[1] // 4)
    most = closest(loaded(quarter), full)
    assert 0 < most < 0.3, 'noise of single patches loses a part'
    assert closest(loaded(make('half', resolution=0.5, **options)), full) < most
    if 'tile' in options:
        assert closest(loaded(make('grid', **options)), full) == 0, 'has no grid'


def test_threads_change_no_byte(make, monkeypatch, capsys) -> None:
    """Nor what is said of the photo that fails, nor the list of such photos."""
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(flow, 'THREADS', threads)
        out = make(f'in{threads}', batch_size=2)
        said = capsys.readouterr().err.replace(out.name, 'in').splitlines()
        said = [line for line in said if '/s' not in line[-5:]]  # but the rate
        files = {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.rglob('*')
            if path.is_file()
        }
        found.append((files, said))
    assert found[0] == found[1] and len(found[0][0]) == 4
    assert 'p3 left out' in found[0][1][0] and len(found[0][1]) == 2


@pytest.mark.parametrize('given', ['gird', 0, 1.5, None, [1]])
def test_other_resolutions_are_refused(given) -> None:
    with pytest.raises(
        ConfigError, match=r"'grid', 'full' or a share .* not "
    ) as error:
        SeedStage('seeds', 'net', HEAD, {}, resolution=given)
    assert repr(given) in str(error.value)


# Who reads them -----------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Photos with masks; small seeds of the stage ``small``, the same large in ``large``."""
    write_world(tmp_path)
    rng = np.random.default_rng(0)
    for i, (name, size) in enumerate(zip(IDS, SIZES, strict=True)):
        mask = rng.integers(0, 3, size, np.uint8)
        save_label_map(tmp_path / f'data/SegmentationClass/{name}.png', mask)
        generator = torch.Generator().manual_seed(i)
        scores = torch.rand(1 + i % 2, 3, 4, generator=generator)
        maps = SmallMaps((scores,), (Step(*size),)).normalised().half()
        classes = torch.arange(1 + i % 2)
        SmallSeed(maps, classes).save(seed_path(tmp_path / 'small', name))
        Seed.load(seed_path(tmp_path / 'small', name)).save(
            seed_path(tmp_path / 'large', name)
        )
        assert load_npz(seed_path(tmp_path / 'large', name))['scores'].shape[1:] == size
    return tmp_path


def stages(kind: str, data: dict[str, Any]) -> Stage:
    masks = dict(data, label_maps='SegmentationClass')
    chain = [dict(type='ConstantBackground'), dict(type='DenseCRF', iterations=2)]
    if kind == 'refined':
        return RefineStage('out', 'cam', data, chain, 'otsu', soft=True, workers=1)
    if kind == 'confident':
        return ConfidentLabelStage('out', 'cam', data, workers=1)
    if kind == 'measured':
        return EvaluateSeedStage('out', 'cam', masks)
    return ExportSeedStage('out', 'cam', kind)


@pytest.mark.parametrize('kind', ['refined', 'confident', 'measured', 'psa', 'wsss'])
def test_who_reads_them_finds_the_same(world, kind) -> None:
    data = dict(
        type='FolderWSSS', data_root=str(world / 'data'), split='train',
        classes=('cat', 'dog'),
    )  # fmt: skip
    found = []
    for seeds in ('small', 'large'):
        out = world / seeds / 'out'
        metrics = stages(kind, data).run(out, dict(cam=world / seeds))
        files = {
            path.relative_to(out).as_posix(): path.read_bytes()
            for path in out.rglob('*')
            if path.is_file()
        }
        found.append((metrics, files))
    assert found[0] == found[1] and len(found[0][1]) >= 2
