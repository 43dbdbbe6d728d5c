"""Decoding photos: depths, colours, rotation, and files that are too large."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from wsss_plugins.datasets.photos import read_image, to_uint8
from wsss_plugins.datasets.tiles import read_crop
from wsss_plugins.errors import DataError

RAMP = np.linspace(0, 1, 60)[None].repeat(40, 0)  # (H, W) in [0, 1]
EXPECTED = np.rint(RAMP * 255)


def grey(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize(
    ('name', 'values'),
    [
        ('16 bits.png', np.rint(RAMP * 65535).astype(np.uint16)),
        ('16 bits.tif', np.rint(RAMP * 65535).astype(np.uint16)),
        ('12 bits in 16.png', np.rint(RAMP * 4095).astype(np.uint16)),
        ('10 bits in 16.tif', np.rint(RAMP * 1023).astype(np.uint16)),
        ('8 bits in 16.png', np.rint(RAMP * 255).astype(np.uint16)),
        ('32 bits.tif', np.rint(RAMP * 65535).astype(np.int32)),
        ('fractions.tif', RAMP.astype(np.float32)),
        ('fractions of 255.tif', (RAMP * 255).astype(np.float32)),
    ],
)
def test_a_ramp_is_a_ramp_at_any_depth(
    tmp_path: Path, name: str, values: np.ndarray
) -> None:
    image = read_image(grey(tmp_path / name, values))
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8
    assert np.abs(image[..., 0] - EXPECTED).max() <= 1
    crop = read_crop(tmp_path / name, (40, 60), slice(0, 40), slice(30, 60))
    assert np.abs(crop[..., 1] - EXPECTED[:, 30:]).max() <= 1


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('top', [4095, 65535])
def test_colours_of_more_than_8_bits(tmp_path: Path, suffix: str, top: int) -> None:
    colours = np.stack([RAMP, RAMP[:, ::-1], RAMP / 2], 2)
    path = tmp_path / f'colours{suffix}'
    cv2.imwrite(str(path), np.rint(colours[..., ::-1] * top).astype(np.uint16))
    assert np.abs(read_image(path) - np.rint(colours * 255)).max() <= 1


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        (np.full((4, 5), 70000, np.int32), 'values from 70000 to 70000'),
        (np.array([[-1, 3]], np.int32), 'values from -1 to 3'),
        (np.array([[0.5, np.nan]], np.float32), 'values from nan'),
        (np.array([[0.5, 300.25]], np.float32), 'fractions up to 300.25'),
    ],
)
def test_values_that_fit_no_depth_are_refused(
    tmp_path: Path, values: np.ndarray, words: str
) -> None:
    path = grey(tmp_path / 'odd.tif', values)
    with pytest.raises(DataError, match='save it with 8 bits') as caught:
        read_image(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_black_stays_black() -> None:
    assert not to_uint8(np.zeros((2, 3), np.uint16), 'x').any()


def test_eight_bits_are_left_as_they_are(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 100, (7, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'dark.png')
    assert (read_image(tmp_path / 'dark.png') == pixels).all()


def test_rotation_of_deep_colours(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = np.rint(RAMP * 65535).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / 'turned.png', exif=exif)
    assert read_image(tmp_path / 'turned.png').shape == (60, 40, 3)


def test_a_deep_picture_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (40, 60, 3), dtype=np.uint16)
    path = tmp_path / 'cut.png'
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(DataError, match='cannot be decoded'):
        read_image(path)


def test_too_large_for_memory_says_so(tmp_path: Path, monkeypatch) -> None:
    grey(tmp_path / 'large.png', np.zeros((40, 60), np.uint8))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(
        DataError, match=r'too large for memory: more than 0 million .*'
    ):
        read_image(tmp_path / 'large.png')
