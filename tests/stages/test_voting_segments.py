"""The stage in which segments vote: what it reads, writes, leaves out and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import SIZE, make_voc

from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.stages import SegmentVoteStage
from wsss_plugins.structures import load_label_map, save_label_map


@pytest.fixture
def dataset(tmp_path: Path) -> dict[str, Any]:
    root = make_voc(tmp_path / 'data', dict(a=['cat'], b=['cat'], c=['cat']))
    return dict(type='VOC12', data_root=str(root), split='train')


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Cats that fill five of the ten columns."""
    for name in 'abc':
        label = np.zeros(SIZE, np.uint8)
        label[:, 3:8] = 8
        save_label_map(tmp_path / 'pseudo/labels' / f'{name}.png', label)
    return tmp_path / 'pseudo'


def write_segments(folder: Path, names: str, size: tuple[int, int] = SIZE) -> None:
    folder.mkdir(exist_ok=True)
    height, width = size
    counts = [2 * height, 5 * height, (width - 7) * height]  # columns 2 to 6
    code = dict(size=list(size), counts=counts)
    for name in names:
        (folder / f'{name}.json').write_text(json.dumps([dict(segmentation=code)]))


def run(stage: SegmentVoteStage, labels: Path) -> dict[str, Any]:
    return stage.run(labels.parent / stage.name, {'pseudo': labels})


def test_files_of_segments(dataset, labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'segments'
    write_segments(folder, 'ab')
    numbers = np.zeros(SIZE, np.uint8)
    numbers[:, 2:7] = 9
    Image.fromarray(numbers).save(folder / 'c.png')
    stage = SegmentVoteStage('voted', 'pseudo', dataset, folder, rule='max_iou')
    assert stage.inputs == ('pseudo',)
    assert [p.name for p in stage.files_read()[str(folder)]] == [
        'a.json',
        'b.json',
        'c.png',
    ]
    assert run(stage, labels) == dict(images=3, failed=0, changed=20.0)
    for name in 'abc':
        label = load_label_map(tmp_path / f'voted/labels/{name}.png')
        assert (label == 8).sum(1).tolist() == [5] * SIZE[0] and (
            label[:, 2:7] == 8
        ).all()


def test_images_that_do_not_fit_are_left_out(dataset, labels, tmp_path: Path) -> None:
    folder = tmp_path / 'segments'
    write_segments(folder, 'a')
    write_segments(folder, 'b', (SIZE[0] + 1, SIZE[1]))
    stage = SegmentVoteStage('voted', 'pseudo', dataset, folder)
    assert run(stage, labels)['failed'] == 2
    failures = json.loads((tmp_path / 'voted/failures.json').read_text())
    assert 'make both from the same photo' in failures['b']
    assert 'neither c.json and c.png' in failures['c']
    made = tmp_path / 'voted/labels/a.png'
    before = made.stat().st_mtime_ns
    run(stage, labels)
    assert made.stat().st_mtime_ns == before, 'not made again'


def test_superpixels_of_the_photo(dataset, labels: Path, tmp_path: Path) -> None:
    pytest.importorskip('skimage')
    stage = SegmentVoteStage(
        'voted', 'pseudo', dataset, 'felzenszwalb', 'overlap', dict(scale=1)
    )
    assert stage.files_read() == {}
    assert run(stage, labels)['failed'] == 0
    assert load_label_map(tmp_path / 'voted/labels/a.png').shape == SIZE


def test_mistakes_are_refused_before_it_runs(dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match='holds no segments'):
        SegmentVoteStage('voted', 'pseudo', dataset, 'slick')
    with pytest.raises(ConfigError, match='arguments of superpixels'):
        SegmentVoteStage('voted', 'pseudo', dataset, tmp_path, arguments=dict(scale=1))
    with pytest.raises(ConfigError, match='unknown rule'):
        SegmentVoteStage('voted', 'pseudo', dataset, rule='most')
