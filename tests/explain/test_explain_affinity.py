"""What places of a photo attend to one another: the numbers, the sheet, the command."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from wsss_plugins.backbones import TimmCNN, capture
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.explain import draw_affinity, explain_affinity
from wsss_plugins.explain.overlay import TILE
from wsss_plugins.explain.sheet import GAP, MARGIN, TITLE
from wsss_plugins.registry import MODELS, build_as

ROOT = Path(__file__).parents[2]
SIZE = (24, 40)  # 3 x 5 patches of 8 pixels
MODEL = dict(
    type='WSSSClassifier',
    backbone=dict(type='TimmViT', img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2),
    head=dict(type='TokenHead', num_classes=3),
)  # fmt: skip


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.mark.parametrize('prefix', [1, 2])
def test_a_row_of_the_affinity(tiny_classifier, photo, prefix) -> None:
    """By the definition: attention summed over blocks, mean over heads, patches only."""
    model = tiny_classifier(prefix=prefix).double().train()
    points = [(0, 0), (23, 39), (8, 15), (7, 16)]
    found = explain_affinity(model, photo, points, size=SIZE)
    assert model.training and all(p.grad is None for p in model.parameters())
    assert found.patches == ((0, 0), (2, 4), (1, 1), (0, 2)) and found.grid == (3, 5)
    images = model.normalise(torch.from_numpy(photo).permute(2, 0, 1)[None].double())
    model.eval()
    with torch.no_grad(), capture(model.backbone, images) as trace:
        matrix = np.zeros((15, 15))
        for attn in trace.attn:
            for head in attn[0]:
                matrix += head[prefix:, prefix:].numpy() / len(attn[0])
    np.testing.assert_allclose(found.matrix, matrix, rtol=1e-5)
    for scores, i in zip(found.maps, (0, 14, 6, 2), strict=True):
        row = torch.from_numpy(matrix[i]).reshape(1, 1, 3, 5)
        expected = F.interpolate(row, size=SIZE, mode='bilinear')[0, 0].numpy()
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_photo_of_another_size_than_the_input(tiny_classifier) -> None:
    """Points are pixels of the photo, whatever the model sees."""
    photo = np.zeros((100, 50, 3), np.uint8)
    found = explain_affinity(tiny_classifier(), photo, [(99, 0), (50, 49)], (24, 40))
    assert found.patches == ((2, 0), (1, 4)) and found.maps.shape == (2, 100, 50)


@pytest.mark.parametrize('point', [(24, 0), (0, 40), (-1, 3)])
def test_points_outside(tiny_classifier, photo, point) -> None:
    with pytest.raises(ConfigError) as error:
        explain_affinity(tiny_classifier(), photo, [(0, 0), point])
    assert str(error.value) == (
        f'the point at row {point[0]}, column {point[1]} is outside the photo: it has '
        'rows 0 to 23 and columns 0 to 39'
    )


def test_nothing_to_show(tiny_classifier, photo) -> None:
    with pytest.raises(ConfigError, match='no points to explain: give the row and'):
        explain_affinity(tiny_classifier(), photo, [])
    cnn = WSSSClassifier(
        backbone=TimmCNN('resnet10t', output_stride=8),
        head=dict(type='TokenHead', num_classes=3, sources=('patch',)),
    )
    with pytest.raises(UserError, match='TimmCNN has no attention: take a vision'):
        explain_affinity(cnn, photo, [(0, 0)], size=(32, 32))


def test_sheet(tiny_classifier) -> None:
    """Photo, a map per point, and the matrix; crosses where the points are."""
    photo = np.full((100, 200, 3), (0, 128, 255), np.uint8)
    found = explain_affinity(tiny_classifier(), photo, [(50, 20), (75, 180)])
    maps, matrix = np.zeros_like(found.maps), np.zeros_like(found.matrix)
    maps[0, :, :100], maps[1, :, 100:], matrix[: len(matrix) // 2] = 1, 1, 1
    found = type(found)(**vars(found) | dict(maps=maps, matrix=matrix))
    sheet = np.asarray(draw_affinity([('x.jpg', found)])).astype(int)
    top = MARGIN + 2 * TITLE
    tiles = [
        sheet[top : top + 160, left : left + TILE]
        for left in (MARGIN + i * (TILE + GAP) for i in range(4))
    ]
    assert (tiles[0][20, 160] == (0, 128, 255)).all(), 'the photo'
    places = [(80, 32), (120, 288)]
    for tile, shown in zip(tiles, [{0, 1}, {0}, {1}], strict=False):
        for k, (y, x) in enumerate(places):
            red = tuple(tile[y, x]) == (255, 43, 43)
            assert red == (k in shown), 'the crosses'
    left, right = tiles[1][20, 80].sum(), tiles[1][20, 240].sum()
    assert left > 2 * right and tiles[2][20, 240].sum() > 2 * tiles[2][20, 80].sum()
    assert tiles[3][40, 80].sum() > 2 * tiles[3][120, 80].sum(), 'rows of the matrix'
    assert (tiles[3][:, 161:] == 255).all(), 'it is a square'


def test_signed_attention(tiny_ex_vit, photo) -> None:
    """An eX-ViT attends negatively too: zero is white then."""
    model = tiny_ex_vit()
    found = explain_affinity(model, photo, [(4, 4)], size=SIZE)
    zero = dict(maps=0 * found.maps, matrix=0 * found.matrix)
    zero['matrix'][0, 0] = -1.0
    found = type(found)(**vars(found) | zero)
    pixels = np.asarray(draw_affinity([('x', found)])).astype(int)
    map_tile = pixels[MARGIN + 2 * TITLE + 150, MARGIN + TILE + GAP + 250]
    assert np.ptp(map_tile) < 5 and map_tile.min() > 150, 'pale grey'


def run(monkeypatch, *words: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['explain.py', *map(str, words)])
    runpy.run_path(str(ROOT / 'tools/explain.py'), run_name='__main__')


def test_command(tmp_path, photo, monkeypatch, capfd) -> None:
    save_model_config(MODEL, tmp_path / 'model', ['cat', 'dog', 'sheep'])
    weights = build_as(MODELS, MODEL, WSSSClassifier).state_dict()
    save_file(weights, tmp_path / 'model/weights.safetensors')
    files = [tmp_path / 'a.png', tmp_path / 'b.png']
    for file in files:
        Image.fromarray(photo).save(file)
    common = (*files, '--model', tmp_path / 'model', '--size', 24, 40)
    points = ('--affinity-of', 0, 39, '--affinity-of', 20, 3)
    run(monkeypatch, *common, *points, '--out', tmp_path / 'both.png')
    run(monkeypatch, *common, *points[:3], '--out', tmp_path / 'each')
    said = capfd.readouterr().out
    assert 'a.png: patches (0, 4), (2, 0) of 3 x 5' in said
    assert 'both.png: written' in said
    with Image.open(tmp_path / 'both.png') as both:
        assert both.width == 2 * MARGIN + 4 * TILE + 3 * GAP
    names = sorted(path.name for path in (tmp_path / 'each').iterdir())
    assert names == ['a_affinity.png', 'b_affinity.png']
    outside = ('--affinity-of', 24, 0, '--out', tmp_path / 'none.png')
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, *common, *outside)
    assert end.value.code == 2 and 'is outside the photo' in capfd.readouterr().err
    assert not (tmp_path / 'none.png').exists()
