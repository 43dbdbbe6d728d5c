"""The Python call: which models, images, methods and classes it takes, and its maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from wsss_plugins.classifiers import TimmClassifier, WSSSClassifier
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.errors import CheckpointError, ConfigError, DataError
from wsss_plugins.explain import (
    build_method,
    choose_classes,
    class_names,
    draw_sheet,
    explain,
    load_model,
    method_names,
    short_name,
)
from wsss_plugins.registry import MODELS, build_as
from wsss_plugins.seeds import CAM, AttentionGradCAM, GenericAttentionRelevance

NAME = 'vit_tiny_patch16_224'
SMALL = dict(depth=3, embed_dim=24, num_heads=2, img_size=32)
COLOURS = ('red', 'green, lime', 'blue', 'grey', 'lime')

SIZES = dict(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3)


@pytest.fixture
def model(tiny_classifier) -> WSSSClassifier:
    return tiny_classifier().double().eval()


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)


@pytest.fixture
def training(tmp_path) -> tuple[Path, WSSSClassifier]:
    """The folder of a training, and its model."""
    cfg = dict(
        type='WSSSClassifier',
        backbone=dict(type='TimmViT', **SIZES, pretrained='long gone'),
        head=dict(type='TokenHead', num_classes=5),
    )
    save_model_config(cfg, tmp_path)
    cfg['backbone'].pop('pretrained')
    model = build_as(MODELS, cfg, WSSSClassifier).eval()
    save_file(model.state_dict(), tmp_path / 'weights.safetensors')
    return tmp_path, model


# Maps ---------------------------------------------------------------------------------


def test_maps_are_those_of_the_head_signed_and_at_the_photos_size(model, photo) -> None:
    found = explain(model, photo, 'cam', classes=[3, 1], size=(24, 40))
    images = torch.from_numpy(photo).permute(2, 0, 1)[None].double()
    with torch.no_grad():
        tokens = model.backbone(model.normalise(images))
        expected = model.cam_logits(tokens)[:, [3, 1]]
    expected = F.interpolate(expected, size=(24, 40), mode='bilinear')[0]
    assert found.maps.dtype == np.float32 and found.maps.shape == (2, 24, 40)
    np.testing.assert_allclose(found.maps, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert (found.maps < 0).any() and (found.maps > 0).any()
    logits = model.class_logits(tokens)[0, [3, 1]]
    np.testing.assert_allclose(found.logits, logits.detach().numpy(), rtol=1e-5)
    shares = model.head.scores(tokens)[0, [3, 1]]
    np.testing.assert_allclose(found.probabilities, shares.detach().numpy(), rtol=1e-5)
    assert found.classes == (3, 1) and found.names == ('class 3', 'class 1')
    assert found.method == 'CAM' and found.photo is photo


def test_photo_keeps_its_aspect_ratio_and_gets_as_many_patches_as_in_training(
    model, monkeypatch
) -> None:
    seen = []
    forward = model.backbone.forward
    monkeypatch.setattr(
        model.backbone, 'forward', lambda x, *a: seen.append(x) or forward(x, *a)
    )
    photo = np.full((300, 500, 3), 200, np.uint8)
    found = explain(model, photo, 'cam')
    assert {tuple(x.shape[-2:]) for x in seen} == {(24, 40)}, '3 x 5, of 4 x 4 patches'
    assert seen[0][0, 0, 0, 0].item() == pytest.approx((200 - 123.675) / 58.395)
    assert found.maps.shape == (1, 300, 500)


@pytest.mark.parametrize('name', sorted(method_names()))
def test_every_method_by_its_short_name(name, tiny_ex_vit, tiny_mctformer) -> None:
    """On a model with two prefix tokens and a photo that is not square."""
    vit = timm.create_model(
        'deit_tiny_distilled_patch16_224', num_classes=5, **SMALL | {'patch_size': 8}
    )
    if name == 'attribute_cam':
        vit = tiny_ex_vit(prefix=2)
    if name == 'mctformer_map':
        vit = tiny_mctformer(prefix=2)
    photo = np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)
    found = explain(vit, photo, name, top=2)
    assert short_name(found.method) == name
    assert found.maps.shape == (2, 24, 40) and np.isfinite(found.maps).all()
    again = explain(vit, photo, found.method, classes=found.classes[1:])
    np.testing.assert_allclose(again.maps[0], found.maps[1], rtol=1e-3, atol=1e-6)


def test_nothing_is_left_behind(model, photo) -> None:
    model.train()
    explain(model, photo, GenericAttentionRelevance())
    assert model.training
    assert all(p.grad is None for p in model.parameters())


# Methods ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name, short',
    [
        ('GenericAttentionRelevance', 'generic_attention_relevance'),
        ('CAM', 'cam'),
        ('AttentionGradCAM', 'attention_grad_cam'),
        ('LRPRollout', 'lrp_rollout'),
        ('InputXGradient', 'input_x_gradient'),
        ('ACRGradientMap', 'acr_gradient_map'),
    ],
)
def test_short_names(name, short) -> None:
    assert short_name(name) == short
    assert method_names()[short] == name
    for spelling in (name, short, short.replace('_', '-'), short.replace('_', '')):
        assert type(build_method(spelling)).__name__ == name


def test_methods_as_config_path_and_instance() -> None:
    assert build_method(dict(type='CAM', floor='minimum')).floor == 'minimum'
    assert isinstance(build_method('wsss_plugins.seeds.AttentionGradCAM'), AttentionGradCAM)  # fmt: skip
    head = CAM()
    assert build_method(head) is head


def test_unknown_method(model, photo) -> None:
    with pytest.raises(ConfigError) as error:
        explain(model, photo, 'attention_rolout')
    message = str(error.value)
    assert message.startswith(
        "unknown method 'attention_rolout': did you mean 'attention_rollout'? Allowed: "
    )
    assert all(name in message for name in method_names())


# Classes ------------------------------------------------------------------------------


def test_most_probable_classes() -> None:
    shares = torch.tensor([0.1, 0.5, 0.2, 0.9, 0.0])
    assert choose_classes(None, 1, shares, ()) == [3]
    assert choose_classes(None, 3, shares, ()) == [3, 1, 2]
    for top in (0, 6):
        with pytest.raises(ConfigError, match=f'{top} most probable.* from 1 to 5'):
            choose_classes(None, top, shares, ())


def test_classes_by_name_and_id() -> None:
    shares = torch.zeros(5)
    assert choose_classes(['blue', 'GREEN', '3', 2], 1, shares, COLOURS) == [2, 1, 3]


@pytest.mark.parametrize(
    'wanted, names, message',
    [
        ([5], COLOURS, 'class 5 is out of range: the model has 5 classes, 0 to 4'),
        (['-1'], (), 'class -1 is out of range: the model has 5 classes, 0 to 4'),
        (['rad'], COLOURS, "unknown class 'rad': did you mean 'red'? Allowed: red, "),
        (['lime'], COLOURS, "class 'lime' is one of several, give its id: 1 ('green, lime'), 4 ('lime')"),
        (['red'], (), "class 'red' cannot be found, since the names of this model's classes are not known: "),
        ([], COLOURS, 'no classes to explain: give names or ids, or leave them out '),
    ],
)  # fmt: skip
def test_classes_that_cannot_be_had(wanted, names, message) -> None:
    with pytest.raises(ConfigError) as error:
        choose_classes(wanted, 1, torch.zeros(5), names)
    assert str(error.value).startswith(message)


def test_names_of_imagenet(photo) -> None:
    model = TimmClassifier(NAME, pretrained=False, **SMALL)
    assert class_names(model)[1] == 'goldfish, Carassius auratus'
    found = explain(model, photo, 'cam', classes=['Carassius auratus', 207])
    assert found.classes == (1, 207) and found.names == ('goldfish', 'golden retriever')
    assert class_names(TimmClassifier(NAME, False, num_classes=7, **SMALL)) == ()


def test_names_that_are_given(model, photo) -> None:
    found = explain(model, photo, 'cam', classes=['green'], names=COLOURS)
    assert found.classes == (1,) and found.names == ('green',)
    with pytest.raises(ConfigError, match=r'2 class names were given.* has 5 '):
        explain(model, photo, 'cam', names=('a', 'b'))


# Models -------------------------------------------------------------------------------


def test_model_of_a_training(training) -> None:
    folder, expected = training
    weight = expected.head.fc.weight
    save_file(
        {k: v + 1 for k, v in expected.state_dict().items()},
        folder / 'other.safetensors',
    )
    for found in (
        load_model(folder),
        load_model(str(folder / 'weights.safetensors')),
        load_model(folder / 'model.json', folder / 'weights.safetensors'),
    ):
        assert torch.equal(found.head.fc.weight, weight) and not found.training
    for found in (
        load_model(folder / 'other.safetensors'),
        load_model(folder, str(folder / 'other.safetensors')),
    ):
        assert torch.equal(found.head.fc.weight, weight + 1)
    assert not torch.equal(load_model(folder, False).head.fc.weight, weight)


def test_names_of_a_training(training, photo) -> None:
    folder, model = training
    content = dict(
        type='WSSSClassifier',
        backbone=dict(type='TimmViT', **SIZES),
        head=dict(type='TokenHead', num_classes=5),
    )
    save_model_config(content, folder, COLOURS)
    save_file(model.state_dict(), folder / 'weights.safetensors')
    for given in (folder, folder / 'weights.safetensors'):
        found = explain(given, photo, 'cam', classes=['green', 4])
        assert found.classes == (1, 4) and found.names == ('green', 'lime')
    named = explain(folder, photo, 'cam', classes=[0], names='abcde')
    assert named.names == ('a',), 'what is given goes before'
    save_model_config(content, folder, COLOURS[:3])
    with pytest.raises(ConfigError, match=r'3 class names were given.* has 5 '):
        explain(folder, photo, 'cam')


def test_model_of_timm_is_left_as_it_is(photo) -> None:
    vit = timm.create_model(NAME, num_classes=5, **SMALL).eval()
    images = torch.randn(1, 3, 32, 32)
    before, keys = vit(images), set(vit.state_dict())
    found = explain(vit, photo, 'generic_attention_relevance')
    assert torch.equal(vit(images), before) and set(vit.state_dict()) == keys
    classifier = load_model(vit)
    assert found.classes[0] == explain(classifier, photo, 'cam').classes[0]
    torch.testing.assert_close(classifier(images)['class'], before)


def test_name_with_a_file(tmp_path) -> None:
    vit = timm.create_model(NAME).eval()
    torch.save(vit.state_dict(), tmp_path / 'x.pth')
    found = load_model(NAME, tmp_path / 'x.pth')
    assert torch.equal(found.head.fc.weight, vit.head.weight)


def test_weights_that_are_no_numbers(model, photo) -> None:
    model.backbone.vit.blocks[1].mlp.fc2.weight.data[3, 4] = torch.nan
    with pytest.raises(CheckpointError) as error:
        explain(model, photo, 'cam')
    assert str(error.value).startswith(
        'weight backbone.vit.blocks.1.mlp.fc2.weight of WSSSClassifier holds values '
    )


@pytest.mark.parametrize(
    'model, message',
    [
        ('resnet18', "timm's 'resnet18' is a ResNet, not a plain vision transformer"),
        (torch.nn.Linear(2, 2), 'the model is a Linear, whose attention cannot be read'),
        ('vit_tiny_patch16_242', "did you mean 'vit_tiny_patch16_224'?"),
        ('work_dirs/nowhere', 'model work_dirs/nowhere does not exist: give the folder'),
    ],
)  # fmt: skip
def test_models_that_do_not_fit(model, photo, message) -> None:
    with pytest.raises(ConfigError) as error:
        explain(model, photo, 'attention_rollout')
    assert message in str(error.value) and '\n' not in str(error.value)


def test_backbone_without_attention(model, photo, monkeypatch) -> None:
    monkeypatch.setattr(model.backbone, 'attention_modules', lambda: [])
    with pytest.raises(
        ConfigError, match='AttentionRollout reads attention, and TimmV'
    ):
        explain(model, photo, 'attention_rollout')


def test_files_that_are_no_model(tmp_path, training) -> None:
    save_file({'a': torch.zeros(1)}, tmp_path / 'sub.safetensors')
    (tmp_path / 'empty').mkdir()
    lone = Path(tmp_path / 'empty' / 'x.safetensors')
    lone.write_bytes(b'')
    cases = {
        tmp_path
        / 'sub.safetensors': 'is of another model than WSSSClassifier: 0 loaded',
        lone: f'{lone} does not say of which model it is, there is no {lone.parent}',
        tmp_path / 'model.json': 'says how a model is built and not what it has learnt',
    }
    for path, message in cases.items():
        with pytest.raises(CheckpointError) as error:
            load_model(path)
        assert message in str(error.value) and '\n' not in str(error.value)
    with pytest.raises(CheckpointError, match='empty holds no trained model'):
        load_model(tmp_path / 'empty')


# Images -------------------------------------------------------------------------------


def test_kinds_of_images(model, photo, tmp_path) -> None:
    Image.fromarray(photo).save(tmp_path / 'x.png')
    maps = explain(model, photo, 'cam').maps
    for image in (str(tmp_path / 'x.png'), tmp_path / 'x.png', Image.fromarray(photo)):
        assert np.array_equal(explain(model, image, 'cam').maps, maps)
    grey = Image.fromarray(photo).convert('L')
    assert explain(model, grey, 'cam').photo.shape == (24, 40, 3)


@pytest.mark.parametrize(
    'image, message',
    [
        ('nowhere.jpg', 'image nowhere.jpg does not exist'),
        (np.zeros((3, 8, 8), np.uint8), 'not (3, 8, 8) of uint8'),
        (np.zeros((8, 8, 3), np.float32), 'not (8, 8, 3) of float32'),
        (torch.zeros(3, 8, 8), 'not a Tensor'),
    ],
)
def test_images_that_do_not_fit(model, image, message) -> None:
    with pytest.raises(DataError) as error:
        explain(model, image, 'cam')
    assert message in str(error.value)


@pytest.mark.parametrize('size', [(30, 40), (0, 8)])
def test_sizes_that_do_not_fit(model, photo, size) -> None:
    with pytest.raises(DataError, match=r'multiples of 8|must be positive, not 0 8'):
        explain(model, photo, 'cam', size=size)


# Picture ------------------------------------------------------------------------------


def test_sheet(model) -> None:
    photo = np.full((100, 200, 3), (0, 128, 255), np.uint8)
    found = explain(model, photo, 'cam', classes=[1, 2], names=COLOURS)
    maps = np.zeros_like(found.maps)
    maps[:, :50, :100], maps[1, 50:] = 1, -1  # for: upper left, against: below
    found = type(found)(**{**vars(found), 'maps': maps})
    plain = np.asarray(draw_sheet([('x.jpg', [found, found])])).astype(int)
    signed = np.asarray(draw_sheet([('x.jpg', [found, found])], True)).astype(int)
    assert plain.shape == signed.shape
    shown = (plain == (0, 128, 255)).all(-1)
    left = int(shown.any(0).argmax())
    tops = np.flatnonzero(shown[:, left])
    assert len(tops) == 2 * 160, 'two rows, each with the photo at 320 x 160'
    top = tops[160]

    def at(sheet: np.ndarray, y: float, x: float) -> np.ndarray:
        return sheet[top + int(160 * y), left + 332 + int(320 * x)]

    bright, dark = at(plain, 0.2, 0.2), at(plain, 0.2, 0.8)
    assert bright.sum() > 2 * dark.sum()
    assert (at(plain, 0.8, 0.2) == dark).all(), 'what speaks against is not shown'
    red, blue, nothing = (
        at(signed, 0.2, 0.2),
        at(signed, 0.8, 0.2),
        at(signed, 0.2, 0.8),
    )
    assert red[0] - red[2] > 30 and blue[2] - blue[0] > 30
    assert np.ptp(nothing) < 5
