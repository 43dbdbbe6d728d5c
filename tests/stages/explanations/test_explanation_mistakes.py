"""Tests of explanations: what is wrong with methods, models, photos and masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explaining import KINDS, OBJECTS, run, write_photos
from imagenet_trees import save_tiny_vit
from safetensors.torch import load_file, save_file
from trees import save_image

from wsss_plugins.errors import CheckpointError, ConfigError, DataError
from wsss_plugins.structures import save_label_map


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    return save_tiny_vit(tmp_path / 'vit.safetensors')


def message(error: type, out: Path, *args: Any, **more: Any) -> str:
    with pytest.raises(error) as caught:
        run(out, *args, **more)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_unknown_method(root, model, tmp_path) -> None:
    text = message(
        ConfigError,
        tmp_path,
        KINDS[0],
        root,
        model,
        methods=dict(a=dict(type='FulLRP')),
    )
    assert text.startswith(
        "unknown seed head 'FulLRP': did you mean 'FullLRP'? Allowed"
    )
    assert "stage 'test' needs methods" in message(
        ConfigError, tmp_path, KINDS[0], root, model, methods={}
    )


def test_model_without_attention(root, tmp_path) -> None:
    cnn = dict(type='TimmClassifier', name='resnet18', pretrained=False)
    text = message(ConfigError, tmp_path, KINDS[0], root, cnn)
    assert text.startswith("timm's 'resnet18' is a ResNet, not a plain vision transfor")
    cnn = dict(
        type='WSSSClassifier',
        backbone=dict(type='mmseg.ResNetV1c', depth=18),
        head=dict(type='TokenHead', num_classes=20),
    )
    assert message(ConfigError, tmp_path, KINDS[0], root, cnn) == (
        'ResNetV1c is no model: a subclass of TokenBackbone is needed; Allowed: '
        'CNNBackbone, ConformerBackbone, ExViT, HybridViT, MultiClassTokenViT, TimmCNN, '
        'TimmViT'
    )


def test_unknown_choices(root, model, tmp_path) -> None:
    for key in ('explained', 'foreground'):
        assert f'{key} must be one of' in message(
            ConfigError, tmp_path, KINDS[0], root, model, **{key: 'all'}
        )


def test_class_out_of_range(root, tmp_path) -> None:
    model = save_tiny_vit(tmp_path / 'six.safetensors', num_classes=6)
    text = (
        f'VOC12 {root} has 20 classes but the classifier 6, so that a class may be out '
        'of its range 0 to 5: take a classifier of the same classes'
    )
    assert message(DataError, tmp_path, KINDS[1], root, model) == text
    for choice in (dict(explained='target'), dict(foreground='class')):
        assert message(DataError, tmp_path, KINDS[0], root, model, **choice) == text
    assert run(tmp_path, KINDS[0], root, model)['failed'] == 0  # predicted is enough


def test_mask_of_another_size(root, model, tmp_path, capsys) -> None:
    small = np.ones((30, 20), np.uint8)
    save_label_map(root / 'SegmentationClass/b.png', small)
    assert run(tmp_path / 'out', KINDS[0], root, model)['failed'] == 1
    expected = 'its mask is 30x20 but its photo 30x36: give the mask that belongs to it'
    assert f'b left out: {expected}' in capsys.readouterr().err
    for name in OBJECTS:
        save_label_map(root / f'SegmentationClass/{name}.png', small)
    text = message(DataError, tmp_path / 'none', KINDS[0], root, model)
    assert text == f"stage 'none': all of 7 images failed, a since {expected}"


def test_mask_without_a_pixel_that_counts(root, model, tmp_path, capsys) -> None:
    save_label_map(root / 'SegmentationClass/b.png', np.full((30, 36), 255, np.uint8))
    assert run(tmp_path / 'out', KINDS[0], root, model)['failed'] == 1
    assert 'b left out: every pixel of its mask is ignored' in capsys.readouterr().err


def test_weights_that_are_no_numbers(root, model, tmp_path) -> None:
    weights = load_file(model['pretrained'])
    weights['blocks.1.mlp.fc1.weight'][3, 4] = torch.nan
    weights['head.bias'][0] = torch.inf
    save_file(weights, model['pretrained'])
    assert message(CheckpointError, tmp_path, KINDS[0], root, model) == (
        f'checkpoint {model["pretrained"]} holds values that are not finite '
        '(blocks.1.mlp.fc1.weight (and 1 more)): load other weights, or train again with '
        'a lower learning rate'
    )


def test_photo_that_cannot_be_decoded(root, model, tmp_path) -> None:
    for name in OBJECTS:
        (root / f'JPEGImages/{name}.jpg').write_text('no photo')
    text = message(DataError, tmp_path / 'out', KINDS[1], root, model)
    assert text.startswith("stage 'out': all of 7 images failed, a since image ")
    assert 'JPEGImages/a.jpg cannot be decoded' in text
    save_image(root / 'JPEGImages/d.jpg', size=(32, 32))
    assert run(tmp_path / 'out', KINDS[1], root, model)['failed'] == 6
