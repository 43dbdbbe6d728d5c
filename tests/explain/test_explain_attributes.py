"""What each attribute of an eX-ViT looks at: the numbers, the sheet, the command."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.errors import ConfigError, UserError
from wsss_plugins.explain import draw_attributes, explain, explain_attributes
from wsss_plugins.explain.overlay import TILE
from wsss_plugins.explain.sheet import CAPTION, GAP, MARGIN, TITLE
from wsss_plugins.registry import MODELS, build_as

ROOT = Path(__file__).parents[2]
SIZE = (24, 40)
MODEL = dict(
    type='ExViTClassifier',
    backbone=dict(type='ExViT', img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2),
    head=dict(type='AttributeHead', num_classes=3, channels=12, attributes=6),
)  # fmt: skip


@pytest.fixture
def model(tiny_ex_vit) -> WSSSClassifier:
    return tiny_ex_vit().double().eval()


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


def resized(maps: torch.Tensor) -> np.ndarray:
    """``(K, h, w)`` at the size of the photo."""
    return F.interpolate(maps[None], size=SIZE, mode='bilinear')[0].numpy()


def test_numbers_are_those_of_the_head(model, photo) -> None:
    found = explain_attributes(model, photo, classes=[3, 1], size=SIZE)
    images = model.normalise(torch.from_numpy(photo).permute(2, 0, 1)[None].double())
    with torch.no_grad():
        tokens = model.backbone(images)
        weight = model.head.attribute_weight(tokens)
        parts = model.head.attribute_logits(tokens)
    np.testing.assert_allclose(found.looks, resized(weight[0]), rtol=1e-5)
    assert found.parts.shape == (2, 4, *SIZE)
    for k, c in enumerate((3, 1)):
        expected = resized(parts[0, :, c])
        np.testing.assert_allclose(found.parts[k], expected, rtol=1e-4, atol=1e-5)
    whole = explain(model, photo, 'attribute_cam', classes=[3, 1], size=SIZE)
    np.testing.assert_allclose(found.whole.maps, whole.maps, rtol=1e-5, atol=1e-6)
    assert found.whole.names == whole.names and found.whole.method == 'AttributeCAM'
    bias = model.head.fc.bias.detach().numpy()[[3, 1], None, None]
    np.testing.assert_allclose(
        found.parts.sum(1) + bias, whole.maps, rtol=1e-4, atol=1e-5
    )


def test_the_model_is_left_as_it_was(model, photo) -> None:
    model.train()
    explain_attributes(model, photo)
    assert model.training and all(p.grad is None for p in model.parameters())
    with pytest.raises(ConfigError, match='class 5 is out of range'):
        explain_attributes(model, photo, classes=[5])


def test_models_without_attributes(tiny_classifier, tiny_ex_vit, photo) -> None:
    with pytest.raises(UserError, match='the head is a TokenHead: train an eX-ViT'):
        explain_attributes(tiny_classifier(), photo)
    with pytest.raises(UserError, match="train with classify='attributes'"):
        explain_attributes(tiny_ex_vit(classify='tokens'), photo)


def test_sheet(model, photo) -> None:
    """Bands: class maps, four attributes in a row, and a row of parts for each class."""
    found = explain_attributes(model, photo, top=2, size=SIZE)
    sheet = draw_attributes([('photo.png', found)])
    tile = round(TILE * SIZE[0] / SIZE[1])
    band, key = 2 * TITLE + tile + 2 * CAPTION, CAPTION + CAPTION // 2
    assert sheet.size == (
        2 * MARGIN + 4 * TILE + 3 * GAP,
        4 * band + 2 * key + 7 * MARGIN,
    )
    pixels = np.asarray(sheet).astype(int)
    top = 2 * MARGIN + band + 2 * TITLE  # of the attributes
    for i, look in enumerate(found.looks):
        left = MARGIN + i * (TILE + GAP)
        bright = pixels[top : top + tile, left : left + TILE].sum(-1)
        places = np.unravel_index([look.argmax(), look.argmin()], SIZE)
        rows, columns = (np.asarray(p) * 8 + 4 for p in places)
        high, low = bright[rows, columns]
        assert high > low, 'bright where it looks'
    parts = found.parts[0]
    top += band + 2 * MARGIN + key  # of the parts of the first class
    strongest = np.unravel_index(np.abs(parts).argmax(), parts.shape)
    i, row, column = (int(place) for place in strongest)
    left = MARGIN + i * (TILE + GAP)
    red, _, blue = pixels[top + 8 * row + 4, left + 8 * column + 4]
    assert (red > blue) == (parts[strongest] > 0), 'red speaks for the class'


def test_attributes_that_are_the_same_everywhere(model, photo) -> None:
    """Flat maps are drawn, and six attributes go over two rows."""
    found = explain_attributes(model, photo, size=SIZE)
    flat = type(found)(
        found.whole, np.ones((6, *SIZE)) / 6**0.5, np.zeros((1, 6, *SIZE))
    )
    one, two = (
        draw_attributes([('p', flat)]),
        draw_attributes([('p', found), ('q', flat)]),
    )
    assert one.width == two.width
    assert two.height > one.height + TILE, 'more bands below'


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
    common = (*files, '--model', tmp_path / 'model', '--attributes')
    run(monkeypatch, *common, '--out', tmp_path / 'both.png', '--classes', 'dog')
    run(monkeypatch, *common, '--out', tmp_path / 'each', '--top-k', 2)
    said = capfd.readouterr().out
    assert 'a.png: dog ' in said and 'both.png: written' in said
    with Image.open(tmp_path / 'both.png') as both:
        assert both.width == 2 * MARGIN + 4 * TILE + 3 * GAP
    names = sorted(path.name for path in (tmp_path / 'each').iterdir())
    assert names == ['a_attributes.png', 'b_attributes.png']
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, *common, '--method', 'cam')
    assert end.value.code == 2 and 'not allowed with' in capfd.readouterr().err


def test_code_of_the_manual(tmp_path, photo, monkeypatch, capsys) -> None:
    folder = tmp_path / 'work_dirs/exvit/synthetic'
    save_model_config(MODEL, folder, ['cat', 'dog', 'sheep'])
    weights = build_as(MODELS, MODEL, WSSSClassifier).state_dict()
    save_file(weights, folder / 'weights.safetensors')
    file = tmp_path / 'data/synthetic/VOC2012/JPEGImages/val_000001.jpg'
    file.parent.mkdir(parents=True)
    Image.fromarray(photo).save(file)
    page = (ROOT / 'docs/how-to/look_at_attributes.md').read_text('utf-8')
    (code,) = re.findall(r'^```python\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, 'look_at_attributes.py', 'exec'), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and {line.split()[0] for line in lines} < {
        'cat',
        'dog',
        'sheep',
    }
    shares = [int(share) for share in re.findall(r'attribute \d: (\d+)%', lines[0])]
    assert len(shares) == 6 and abs(sum(shares) - 100) <= 3
