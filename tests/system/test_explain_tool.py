"""tools/explain.py: the picture it writes, and the one line on what is wrong."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.registry import MODELS, build_as

BROKEN = b'\xff\xd8\xff no jpeg at all'
MODEL = dict(
    type='WSSSClassifier',
    backbone=dict(type='TimmViT', img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2),
    head=dict(type='TokenHead', num_classes=3),
)  # fmt: skip


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """The folder of a training."""
    folder = tmp_path_factory.mktemp('classifier')
    save_model_config(MODEL, folder)
    model = build_as(MODELS, MODEL, WSSSClassifier)
    save_file(model.state_dict(), folder / 'weights.safetensors')
    return folder


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / 'photo.png'
    pixels = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.slow
def test_picture_of_two_photos(trained, photo, tmp_path) -> None:
    (tmp_path / 'names.txt').write_text('cat\ndog\nsheep, ewe\n')
    out = tmp_path / 'new' / 'sheet.png'
    done = tiny.run_python(
        tiny.TOOLS / 'explain.py', photo, photo, '--model', trained,
        '--method', 'transformer_attribution,CAM', '--classes', 'ewe,0',
        '--class-names', tmp_path / 'names.txt', '--out', out,
    )  # fmt: skip
    first, second, last = done.stdout.splitlines()
    assert first.startswith('photo.png: sheep ') and ' %, cat ' in first
    assert first == second and last == f'{out}: written'
    assert 'explain: 4/4' in done.stderr
    with Image.open(out) as sheet:
        columns = np.asarray(sheet.convert('L')).min(0) < 255
        assert sheet.height > 4 * 320 > sheet.width, 'four rows of three pictures'
    assert columns[28:].sum() > 3 * 213, 'three pictures of 320 x 213'
    assert [p.name for p in out.parent.iterdir()] == ['sheet.png']


def test_picture_per_class_without_a_broken_photo(
    trained, photo, tmp_path, capfd, monkeypatch, refused
) -> None:
    (tmp_path / 'names.txt').write_text('cat\ndog/wolf\nsheep, ewe\n')
    broken, out = tmp_path / 'broken.jpg', tmp_path / 'new'
    broken.write_bytes(BROKEN)
    command = [
        'explain.py', broken, photo, '--model', trained, '--method', 'cam,full_lrp',
        '--classes', '1,2', '--class-names', tmp_path / 'names.txt', '--out', out,
    ]  # fmt: skip
    monkeypatch.setattr(sys, 'argv', [*map(str, command)])
    runpy.run_path(str(tiny.TOOLS / 'explain.py'), run_name='__main__')
    said = capfd.readouterr()
    assert said.out.startswith('photo.png: dog/wolf ')
    assert f'left out: image {broken} cannot be decoded' in said.err
    assert 'explain: 1 of 2 photos left out' in said.err
    names = sorted(path.name for path in out.iterdir())
    assert names == ['photo_1_dog_wolf.png', 'photo_2_sheep.png']
    with Image.open(out / names[0]) as one, Image.open(out / names[1]) as other:
        assert one.size == other.size and one.height < 2 * 320, 'one row each'
        assert one.tobytes() != other.tobytes()
    assert refused(*command, '--strict').startswith(f'image {broken} cannot be decoded')


# What is wrong ------------------------------------------------------------------------


def test_unknown_method(refused, photo, trained) -> None:
    message = refused('explain.py', photo, '--model', trained, '--method', 'cam,grad')
    assert message.startswith("unknown method 'grad': ")
    assert 'attention_grad_cam' in message
    message = refused('explain.py', photo, '--model', trained, '--method', ',')
    assert message.startswith('--method names no method: give one or more')


@pytest.mark.parametrize(
    'classes, message',
    [
        ('3', 'class 3 is out of range: the model has 3 classes, 0 to 2'),
        ('cow', "class 'cow' cannot be found, since the names of this model's"),
        (',', 'no classes to explain: give names or ids'),
    ],
)
def test_classes(refused, photo, trained, tmp_path, classes, message) -> None:
    out = tmp_path / 'x.png'
    command = (photo, '--model', trained, '--method', 'cam', '--out', out)
    said = refused('explain.py', *command, '--classes', classes)
    assert said.startswith(message)
    assert not out.exists()


def test_unknown_class_of_imagenet(refused, photo) -> None:
    message = refused(
        'explain.py', photo, '--model', 'vit_tiny_patch16_224', '--untrained',
        '--method', 'cam', '--classes', 'golden retreiver',
    )  # fmt: skip
    assert message.startswith(
        "unknown class 'golden retreiver': did you mean 'golden retriever'? Allowed: "
    )


@pytest.mark.parametrize('name', ['resnet50', 'resnet50.a1_in1k'])
def test_cnn(refused, photo, name) -> None:
    message = refused('explain.py', photo, '--model', name)
    assert message == (
        f"timm's '{name}' is a ResNet, not a plain vision transformer: name a vit_*, "
        'deit_* or eva* model that docs/generated/timm_vits.md lists'
    )


def test_weights_that_cannot_be_fetched(refused, photo, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError('no network')

    monkeypatch.setattr('timm.create_model', fail)
    message = refused('explain.py', photo, '--model', 'vit_tiny_patch16_224')
    assert message == (
        'the timm weights of vit_tiny_patch16_224 could not be downloaded: fetch them '
        'where there is a network and give the file as the weights (--weights FILE, or '
        'weights=FILE in Python)'
    )


def test_nan_weights(refused, photo, trained, tmp_path) -> None:
    weights = load_file(trained / 'weights.safetensors')
    weights['backbone.vit.blocks.0.norm1.bias'][2] = torch.nan
    save_file(weights, tmp_path / 'nan.safetensors')
    command = ('--model', trained, '--weights', tmp_path / 'nan.safetensors')
    assert refused('explain.py', photo, *command) == (
        f'checkpoint {tmp_path / "nan.safetensors"} holds values that are not finite '
        '(backbone.vit.blocks.0.norm1.bias): load other weights, or train again with a '
        'lower learning rate'
    )


def test_photos(refused, trained, tmp_path) -> None:
    path = tmp_path / 'broken.jpg'
    assert refused('explain.py', path, '--model', trained) == (
        f'image {path} does not exist'
    )
    path.write_bytes(BROKEN)
    message = refused('explain.py', path, '--model', trained)
    assert message.startswith(f'image {path} cannot be decoded (no known format)')


def test_options(refused, photo, trained, tmp_path) -> None:
    command = ('explain.py', photo, '--model', trained, '--method', 'cam')
    message = refused(*command[:1], photo, *command[1:], '--out', tmp_path / 'new')
    assert message.startswith(f"--out {tmp_path / 'new'}: 2 photos are called 'photo'")
    out = tmp_path / 'x.jpg'
    assert refused(*command, '--out', out) == (
        f'--out {out}: give a name that ends with .png, or a folder'
    )
    message = refused(*command, '--size', 30, 40)
    assert message.startswith('images of 30x40 do not fit a grid of stride 8')
    message = refused(*command, '--top-k', 4)
    assert message.endswith('the model has 3, give a number from 1 to 3')
    message = refused(*command, '--class-names', tmp_path / 'none.txt')
    assert message.startswith(f'{tmp_path / "none.txt"} cannot be read')
