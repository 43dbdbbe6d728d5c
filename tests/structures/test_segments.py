"""Segments of any tool: run lengths as COCO writes them, and numbered pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths

from wsss_plugins.errors import DataError
from wsss_plugins.structures.segments import find_segments, load_segments

MASKS = np.random.default_rng(1).random((5, 9, 13)) > 0.6
MASKS[1] = False
MASKS[2] = True
MASKS[3, 2:7, 3:9] = True  # with long runs


def compressed(mask: np.ndarray) -> dict[str, Any]:
    code = run_lengths.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=code['size'], counts=code['counts'].decode())


def lengths(mask: np.ndarray) -> dict[str, Any]:
    flat = mask.T.ravel()
    ends = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1), flat.size]
    counts = np.diff(ends).tolist()
    return dict(size=list(mask.shape), counts=[0, *counts] if flat[0] else counts)


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize('encode', [compressed, lengths])
@pytest.mark.parametrize('within', [True, False], ids=['SA-1B', 'list'])
def test_run_lengths(tmp_path: Path, encode: Any, within: bool) -> None:
    records = [
        dict(segmentation=encode(mask), area=3, bbox=[0, 0, 1, 1]) for mask in MASKS
    ]
    content = dict(image={}, annotations=records) if within else records
    found = load_segments(write(tmp_path / 'a.json', content))
    assert found.dtype == bool and np.array_equal(found, MASKS)


def test_long_runs_of_a_large_photo(tmp_path: Path) -> None:
    mask = np.zeros((1500, 2000), bool)
    mask[100:1400, 30:1990] = True
    records = [dict(segmentation=compressed(mask))]
    assert np.array_equal(load_segments(write(tmp_path / 'a.json', records))[0], mask)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_numbered_pictures(tmp_path: Path, dtype: Any) -> None:
    numbers = np.zeros((9, 13), dtype)
    numbers[:4, :5], numbers[6:, 2:] = 1, 200 if dtype is np.uint8 else 700
    Image.fromarray(numbers).save(tmp_path / 'a.png')
    found = load_segments(tmp_path / 'a.png')
    assert found.shape == (2, 9, 13)
    assert found[0, 0, 0] and found[1, 8, 12] and not found[:, 5, 0].any()


@pytest.mark.parametrize(
    'content',
    [
        [],
        {},
        dict(annotations=3),
        [3],
        [dict(area=3)],
        [dict(segmentation=[[1, 2, 3, 4, 5, 6]])],
        [dict(segmentation=dict(size=[9, 13], counts=[100]))],
        [dict(segmentation=dict(size=[9, 13], counts=[200, -83]))],
        [dict(segmentation=dict(size=[2, 2], counts='hello world'))],
        [dict(segmentation=dict(size=[2, 2], counts=''))],
        [dict(segmentation=dict(size=[2, 2], counts='\u00e9'))],
        [dict(segmentation=dict(size=[0, 0], counts=[]))],
        [
            dict(segmentation=compressed(MASKS[0])),
            dict(segmentation=compressed(MASKS[0, 1:])),
        ],
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, content: Any) -> None:
    path = write(tmp_path / 'a.json', content)
    with pytest.raises(DataError) as error:
        load_segments(path)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_colour_pictures_and_no_pictures_are_refused(tmp_path: Path) -> None:
    Image.new('RGB', (3, 4)).save(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_text('no picture')
    for name, message in (('a', 'are numbered'), ('b', 'decoded'), ('c', 'not exist')):
        with pytest.raises(DataError, match=message):
            load_segments(tmp_path / f'{name}.png')


def test_one_file_for_an_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'neither a\.json and a\.png'):
        find_segments(tmp_path, 'a')
    path = write(tmp_path / 'a.json', [])
    assert find_segments(tmp_path, 'a') == path
    Image.new('L', (3, 4)).save(tmp_path / 'a.png')
    with pytest.raises(DataError, match='both'):
        find_segments(tmp_path, 'a')
