"""Label maps of every kind of PNG: those that can be meant are read, others refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run_script

from wsss_plugins.errors import DataError
from wsss_plugins.structures import load_label_map, voc_palette

ROOT = Path(__file__).parents[2]
LABELS = np.array([[0, 1, 255], [2, 2, 0]], np.uint8)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_labels_of_8_and_16_bits_are_read(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(LABELS.astype(dtype)).save(tmp_path / 'a.png')
    found = load_label_map(tmp_path / 'a.png', num_classes=3)
    assert found.dtype == np.uint8
    assert np.array_equal(found, LABELS)


def test_16_bits_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(LABELS.astype(np.uint16) * 257).save(tmp_path / 'a.png')
    with pytest.raises(DataError, match=r'a\.png has the value 257: .* numbers of the'):
        load_label_map(tmp_path / 'a.png')


def test_the_command_for_masks_in_colour_converts_them(tmp_path: Path) -> None:
    folder = tmp_path / 'masks'
    folder.mkdir()
    Image.fromarray(voc_palette()[LABELS]).save(folder / 'a.png')
    with pytest.raises(DataError, match='colour picture') as raised:
        load_label_map(folder / 'a.png')
    command = re.search(r'(wsss prepare .*) converts', str(raised.value))
    assert command is not None
    done = run_script(command[1].split(), ROOT)
    assert done.returncode == 0, done.stderr
    found = load_label_map(tmp_path / 'indexed' / 'masks' / 'a.png', num_classes=3)
    assert np.array_equal(found, LABELS)
