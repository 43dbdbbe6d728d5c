"""Seeds and predictions of large photos, in tiles and at a smaller size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trees import save_image

from wsss_plugins.datasets import read_image
from wsss_plugins.errors import ConfigError
from wsss_plugins.provenance.run import crfs_of, methods_of
from wsss_plugins.stages import PredictStage, RefineStage, SeedStage
from wsss_plugins.stages.images import as_image
from wsss_plugins.structures import Seed, load_label_map
from wsss_plugins.structures.tiles import blend_weights, shrunk, tile_spans

SIZE = (56, 88)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two large photos and a small one."""
    for i, size in enumerate([SIZE, SIZE, (24, 32)]):
        save_image(tmp_path / f'images/p{i}.png', i, size)
    (tmp_path / 'train.csv').write_text('file,tags\np0,cat;dog\np1,dog\np2,\n')
    return tmp_path


def dataset(photos: Path) -> dict[str, Any]:
    classes = ('bird', 'cat', 'cow', 'dog', 'fish')
    return dict(
        type='FolderWSSS', data_root=str(photos), split='train', classes=classes
    )


@pytest.fixture
def seeds(photos, tiny_classifier, monkeypatch):
    """Runs the stage with a small classifier; the seeds by image."""
    torch.manual_seed(1)
    model = tiny_classifier().eval()
    monkeypatch.setattr(
        'wsss_plugins.stages.seed.load_trained', lambda path, kind: model
    )

    def run(name: str, **arguments: Any) -> dict[str, Seed]:
        head = dict(type='CAM', floor='minimum')
        stage = SeedStage(name, 'net', head, dataset(photos), **arguments)
        out = photos / name
        assert stage.run(out, dict(net=Path('net')))['failed'] == 0
        stage.provenance()
        return {f'p{i}': Seed.load(out / f'seeds/p{i}.npz') for i in range(3)}

    run.model = model
    return run


def same(found: dict[str, Seed], expected: dict[str, Seed], atol: float = 0) -> None:
    for name, seed in expected.items():
        assert found[name].classes.equal(seed.classes)
        assert found[name].size == seed.size
        torch.testing.assert_close(
            found[name].scores, seed.scores, atol=atol, rtol=0, check_stride=False
        )


@pytest.mark.parametrize(
    'options', [dict(tile=88), dict(max_side=88), dict(max_side=88, tile=96)]
)
def test_what_fits_is_taken_as_a_whole(seeds, options) -> None:
    same(
        seeds('large', scales=(1, 1.5), **options),
        seeds('whole', scales=(1, 1.5), batch_size=1),
    )


def test_tiles_are_made_alone_and_blended(seeds, photos) -> None:
    """The definition: a weighted mean of the maps that the model makes of each tile."""
    found = seeds('tiles', tile=32, overlap=16, batch_size=3, half=False)
    image = as_image(read_image(photos / 'images/p0.png'))
    labels = torch.zeros(1, 5)
    labels[0, [1, 3]] = 1
    stage = SeedStage('x', 'net', dict(type='CAM', floor='minimum'), dataset(photos))
    total = torch.zeros(2, *SIZE, dtype=torch.float64)
    rows, columns = (tile_spans(side, 32, 16) for side in SIZE)
    assert len(rows) > 1 and len(columns) > 2
    for (top, bottom), down in zip(rows, blend_weights(rows), strict=True):
        for (left, right), across in zip(columns, blend_weights(columns), strict=True):
            crop = image[None, :, top:bottom, left:right].float()
            maps = stage.maps(seeds.model, seeds.model.normalise(crop), labels)
            weight = down[:, None] * across
            total[:, top:bottom, left:right] += weight * maps[0, [1, 3]]
    low, high = total.amin((1, 2), True), total.amax((1, 2), True)
    expected = ((total - low) / (high - low)).float()
    torch.testing.assert_close(found['p0'].scores, expected, atol=1e-5, rtol=0)
    assert found['p2'].scores.shape == (0, 24, 32)


def test_a_smaller_copy_is_seen_and_enlarged(seeds, photos) -> None:
    found = seeds('small', max_side=44, half=False)
    image = as_image(read_image(photos / 'images/p0.png'))
    small = shrunk(image, 44).permute(1, 2, 0).numpy()
    head = dict(type='CAM', floor='minimum')
    stage = SeedStage('x', 'net', head, dataset(photos), half=False)
    labels = np.array([0, 1, 0, 1, 0], np.float32)
    (expected,) = stage.seeds_of(seeds.model, [small], [labels])
    same(found, {'p0': expected.resized(SIZE)}, atol=1e-6)


def test_predicted_labels_need_one_tile_that_shows_them(seeds) -> None:
    model = seeds.model
    with torch.no_grad():
        model.head.fc.bias.fill_(-9)
        model.head.patch_fc.bias.fill_(-9)
        model.head.fc.bias[2] = model.head.patch_fc.bias[2] = 9
    found = seeds('predicted', tile=32, overlap=8, min_probability=0.5)
    for seed in found.values():
        assert seed.classes.tolist() == [2]
        assert seed.confidence.item() > 0.9


def test_half_precision_halves_the_files(seeds, photos) -> None:
    full, half = (
        seeds(name, tile=32, overlap=8, half=name == 'half')
        for name in ('full', 'half')
    )
    same(half, full, atol=1e-3)
    with np.load(photos / 'half/seeds/p0.npz') as arrays:
        assert arrays['scores'].dtype == np.float16
    files = [
        (photos / name / 'seeds/p0.npz').stat().st_size for name in ('full', 'half')
    ]
    assert files[1] < 0.6 * files[0]


def test_what_was_done_is_said(photos) -> None:
    head = dict(type='CAM')
    stage = SeedStage('x', 'net', head, dataset(photos), max_side=900, tile=512)
    made = stage.provenance()
    assert made['working_size'] == 'at most 900 px'
    assert made['tiles'] == '512 px, overlapping by 64'
    assert 'tiles' not in SeedStage('x', 'net', head, dataset(photos)).provenance()
    with pytest.raises(ConfigError, match='input_size, which is for photos as a whole'):
        SeedStage('x', 'net', head, dataset(photos), input_size=(32, 32), tile=512)
    with pytest.raises(ConfigError, match='tile=64 and overlap=64'):
        PredictStage('x', 'net', dataset(photos), tile=64)


def test_the_card_finds_what_is_done_in_pieces(photos) -> None:
    crf = dict(type='DenseCRF', preset='acr')
    chain = [dict(type='ConstantBackground'), dict(type='InPieces', refiners=[crf])]
    stage = RefineStage('x', 'maps', dataset(photos), chain)
    (found,) = crfs_of('x', stage.parts(), infers=False)
    assert 'acr' in str(found)
    (methods,) = methods_of('x', stage.parts())
    assert methods.what == 'ConstantBackground, InPieces, DenseCRF'


class Segmentor(nn.Module):
    """Logits of three classes from the colours around a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 5, 1, 2)
        self.data_preprocessor = SimpleNamespace(mean=0.0, std=32.0)

    @torch.no_grad()
    def encode_decode(self, view: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        return self.conv(view)


@pytest.fixture
def predict(photos, monkeypatch):
    """Runs the stage with a small segmentor; the labels by image."""
    torch.manual_seed(2)
    model = Segmentor()
    monkeypatch.setattr(
        'wsss_plugins.stages.predict.load_trained', lambda path, kind: model
    )

    def run(name: str, **arguments: Any) -> dict[str, np.ndarray]:
        stage = PredictStage(name, 'net', dataset(photos), **arguments)
        stage.run(photos / name, dict(net=Path('net')))
        return {
            f'p{i}': load_label_map(photos / name / f'labels/p{i}.png')
            for i in range(3)
        }

    return run


@pytest.mark.parametrize(
    'options',
    [dict(tile=88), dict(max_side=88), dict(refiners=[dict(type='DenseCRF')], tile=90)],
)
def test_predictions_of_what_fits_are_the_same(predict, options) -> None:
    whole = {k: v for k, v in options.items() if k == 'refiners'}
    expected, found = predict('whole', **whole), predict('large', **options)
    assert all((found[name] == expected[name]).all() for name in expected)


def test_predictions_in_tiles_differ_at_no_pixel_that_is_sure(predict) -> None:
    """The model sees 2 pixels around each: only seams could differ, and overlaps hide them."""
    expected = predict('whole', flip=False)
    found = predict('tiles', flip=False, tile=32, overlap=16)
    for name, label in expected.items():
        assert found[name].shape == label.shape
        assert (found[name] != label).mean() < 0.01
    assert len(np.unique(expected['p0'])) == 3


def test_predictions_at_a_smaller_size(predict, photos) -> None:
    found = predict('small', max_side=44, flip=False)['p0']
    image = as_image(read_image(photos / 'images/p0.png'))
    torch.manual_seed(2)
    pixels = shrunk(image, 44)[None].float() / 32
    shares = Segmentor().encode_decode(pixels, []).softmax(1)
    large = F.interpolate(shares, size=SIZE, mode='bilinear', align_corners=False)
    assert (found != large[0].argmax(0).numpy()).mean() < 1e-3


MEMORY = """
import sys
from pathlib import Path
import numpy as np, torch
from wsss_plugins.backbones import TimmViT
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.stages import SeedStage

def memory(key):
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024

torch.set_num_threads(1)
side, tile = map(int, sys.argv[1:])
backbone = TimmViT(img_size=64, patch_size=16, embed_dim=48, depth=2, num_heads=2)
model = WSSSClassifier(backbone, dict(type='TokenHead', num_classes=20)).eval()
images = dict(type='FolderWSSS', data_root='.', split='train')
stage = SeedStage('x', 'net', dict(type='CAM'), images, flip=False, tile=tile or None,
    overlap=32, batch_size=2)
photo = np.zeros((side * 3 // 4, side, 3), np.uint8)
labels = np.eye(20, dtype=np.float32)[3]
Path('/proc/self/clear_refs').write_text('5')  # the peak counts from here
start = memory('VmRSS')
(seed,) = stage.seeds_of(model, [photo], [labels])
print(memory('VmHWM') - start)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='needs Linux')
def test_memory_does_not_grow_with_the_photo_but_for_the_map() -> None:
    """Of 12 million pixels the photo takes 34 MiB, the map, twice, 46, and in half 23."""
    peak = {}
    for side, tile in ((1000, 256), (4000, 256)):
        command = [sys.executable, '-c', MEMORY, str(side), str(tile)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak[side] = float(done.stdout)
    pixels = 3000 * 4000 / 2**20
    assert peak[4000] - peak[1000] < (3 + 2 * 4 + 2) * pixels + 20
