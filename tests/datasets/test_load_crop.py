"""Crops of photos against resizing the whole photo and cropping it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import half_mask

from wsss_plugins.datasets import (
    LoadCrop,
    LoadImage,
    LoadLabelMap,
    RandomCropPad,
    ResizeLongSide,
)
from wsss_plugins.datasets.tiles import read_crop
from wsss_plugins.errors import ConfigError, DataError
from wsss_plugins.structures import save_label_map

H, W = 90, 120


def photo(path: Path, size: tuple[int, int] = (H, W), **options: object) -> np.ndarray:
    """A smooth picture, which JPEG and resampling keep."""
    rows, columns = np.mgrid[: size[0], : size[1]] / max(size) * 2 * np.pi
    waves = [np.sin(rows), np.cos(columns), np.sin(rows + columns)]
    pixels = (127 + 120 * np.stack(waves, -1)).astype(np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def sample(path: Path, label: Path | None = None) -> dict:
    given = dict(img_path=str(path), gt_label=np.zeros(3, np.float32))
    if label is not None:
        given.update(seg_map_path=str(label), seg_fields=[])
    return given


def apart(path: Path, label: Path | None, *steps: object) -> dict:
    results = LoadImage().transform(sample(path, label))
    if label is not None:
        results = LoadLabelMap().transform(results)
    for step in steps:
        results = step.transform(results)
    return results


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('bounds', [(40, 70), (120, 120), (150, 260)])
def test_the_same_crop_as_resizing_all_of_it(tmp_path, seed, bounds) -> None:
    """With padding on both sides, one or none."""
    path, label = tmp_path / 'x.png', tmp_path / 'labels/x.png'
    photo(path)
    save_label_map(label, half_mask(2, (H, W)))
    np.random.seed(seed)
    expected = apart(
        path, label, ResizeLongSide(*bounds), RandomCropPad((64, 80), seg_pad=7)
    )
    np.random.seed(seed)
    crop = LoadCrop((64, 80), *bounds, seg_pad=7)
    found = crop.transform(sample(path, label))
    assert found['img'].shape == (64, 80, 3) and found['img_shape'] == (64, 80)
    assert found['ori_shape'] == (H, W) and found['seg_fields'] == ['gt_seg_map']
    difference = np.abs(found['img'].astype(int) - expected['img'])
    assert difference.max() <= 3
    padded = (expected['img'] == (124, 116, 104)).all(-1)
    assert ((found['img'] == (124, 116, 104)).all(-1) == padded).mean() > 0.999
    assert (found['gt_seg_map'] != expected['gt_seg_map']).mean() < 0.02
    assert set(np.unique(found['gt_seg_map'])) <= {0, 2, 7, 255}


def test_at_its_own_size_pixels_are_those_of_the_file(tmp_path) -> None:
    pixels = photo(tmp_path / 'x.png')
    np.random.seed(3)
    found = LoadCrop(32).transform(sample(tmp_path / 'x.png'))['img']
    places = [
        (r, c)
        for r in range(H - 31)
        for c in range(W - 31)
        if (pixels[r : r + 32, c : c + 32] == found).all()
    ]
    assert len(places) == 1


@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_photos(tmp_path, orientation) -> None:
    """As the camera was held: EXIF says how to turn it."""
    path = tmp_path / 'x.jpg'
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(path, (160, 240), exif=exif, quality=95)
    whole = LoadImage().transform(sample(path))['img']
    size = (40, 60) if whole.shape[0] < whole.shape[1] else (60, 40)
    found = read_crop(path, size, slice(5, 35), slice(8, 38))
    small = np.array(
        Image.fromarray(whole).resize(size[::-1], Image.Resampling.BICUBIC)
    )
    assert np.abs(found.astype(int) - small[5:35, 8:38]).max() <= 6


@pytest.mark.parametrize('mode', ['L', 'P', 'RGBA', 'CMYK'])
def test_pictures_of_other_kinds(tmp_path, mode) -> None:
    path = tmp_path / ('x.tif' if mode == 'CMYK' else 'x.png')
    Image.fromarray(photo(tmp_path / 'rgb.png')).convert(mode).save(path)
    whole = LoadImage().transform(sample(path))['img']
    found = read_crop(path, (H, W), slice(2, 50), slice(9, 70))
    assert (found == whole[2:50, 9:70]).all()


def test_mistakes(tmp_path) -> None:
    for bounds in ((9, 8), (0, 8), (None, 8), (8, None)):
        with pytest.raises(ConfigError, match='0 < low <= high, or neither'):
            LoadCrop(32, *bounds)
    with pytest.raises(DataError, match=r'no\.jpg does not exist'):
        LoadCrop(32).transform(sample(tmp_path / 'no.jpg'))
    (tmp_path / 'x.jpg').write_bytes(b'no picture')
    with pytest.raises(DataError, match=r'x\.jpg'):
        LoadCrop(32).transform(sample(tmp_path / 'x.jpg'))
    photo(tmp_path / 'y.jpg')
    save_label_map(tmp_path / 'y.png', half_mask(9, (H, W)))
    with pytest.raises(DataError, match='value 9'):
        LoadCrop(32).transform(sample(tmp_path / 'y.jpg', tmp_path / 'y.png'))


PEAK = """
import sys
from pathlib import Path
import numpy as np
from wsss_plugins.datasets import LoadCrop, LoadImage

def memory(key):
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))

kind, path = sys.argv[1:]
loader = LoadImage() if kind == 'whole' else LoadCrop(224, 448, 448)
Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
start = memory('VmRSS')
for _ in range(3):
    loader.transform(dict(img_path=path, gt_label=np.zeros(1)))
print(memory('VmHWM') - start)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='needs Linux')
def test_a_large_jpeg_is_not_decoded_as_a_whole(tmp_path) -> None:
    """12 million pixels are 36 MB; an eighth of each side is half a MB."""
    photo(tmp_path / 'x.jpg', (3000, 4000))
    peak = {}
    for kind in ('whole', 'crop'):
        command = [sys.executable, '-c', PEAK, kind, str(tmp_path / 'x.jpg')]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak[kind] = int(done.stdout) / 1024
    assert peak['whole'] > 36, 'this is what it must not take'
    assert peak['crop'] < 12, peak
