"""A start for other trainings: what is in the file, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from wsss_plugins.backbones import TimmViT
from wsss_plugins.backbones.weights import header
from wsss_plugins.classifiers import MaskedDenoiser
from wsss_plugins.errors import CheckpointError, ConfigError
from wsss_plugins.experiment.backbone_export import export_backbone
from wsss_plugins.provenance.files import save_metrics
from wsss_plugins.provenance.networks import initial_weights
from wsss_plugins.structures import load_json
from wsss_plugins.structures.card import (
    KnownBy,
    Learnt,
    Network,
    Split,
    SupervisionCard,
    Taught,
    supervision_in,
)

ARCH = dict(stem='conv', img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3)
CARD = SupervisionCard(
    split=Split('VOC12', 'val', 3, 'x'),
    networks=(
        Network(
            'train', 'MaskedDenoiser', 'from scratch', supervision_in('none'), (KnownBy.NOTHING(),),
            Learnt.IMAGES(), Split('VOC12', 'train', 7, 'y'),
        ),
    ),
    seeds=(5,),
    commits=('abc',),
)  # fmt: skip
CFG = dict(
    model=dict(
        type=MaskedDenoiser, backbone=dict(type=TimmViT, pretrained=None, **ARCH)
    ),
    train_dataloader=dict(dataset=dict(data_root='data/x')),
    train_cfg=dict(max_epochs=2),
)


@pytest.fixture
def trained(tmp_path):
    model = MaskedDenoiser(TimmViT(**ARCH))
    folder = tmp_path / 'trained'
    folder.mkdir()
    save_file(model.state_dict(), folder / 'weights.safetensors')
    save_metrics(folder / 'metrics.json', {'mended/R2': 61.5}, CARD)
    return model, folder


def export(folder, out, **more):
    given = dict(config='configs/x.py', cfg=CFG, supervision='self-supervised')
    return export_backbone(folder, out, **(given | more))


def test_the_file_holds_the_backbone_and_says_what_it_learnt_from(
    trained, tmp_path
) -> None:
    model, folder = trained
    out = tmp_path / 'start.safetensors'
    told = export(folder, out)
    tensors, own = load_file(out), model.backbone.state_dict()
    assert set(tensors) == set(own)
    for name, value in own.items():
        if value.is_floating_point():
            assert tensors[name].dtype == torch.float16
            torch.testing.assert_close(
                tensors[name].float(), value, rtol=1e-3, atol=1e-6
            )
        else:
            assert torch.equal(tensors[name], value)
    said = header(out)
    assert json.loads(said['backbone']) == ARCH == told['backbone']
    assert (said['config'], said['epochs'], said['seed']) == ('configs/x.py', '2', '5')
    assert (said['images'], said['commit']) == ('VOC12 train 7 of data/x', 'abc')
    assert json.loads(said['scores']) == {'mended/R2': 61.5}
    assert load_json(tmp_path / 'start.json') == told
    again = TimmViT(pretrained=str(out), **ARCH)
    assert again.report is not None and not again.report.missing
    config = dict(
        model=dict(
            type='WSSSClassifier', backbone=dict(type='TimmViT', pretrained=str(out))
        )
    )
    (found,) = initial_weights(config)
    assert found.supervision == {Taught.SELF()}, 'not that of its own start: none'
    assert found.card is not None and found.card.networks == CARD.networks


def test_it_can_be_whole(trained, tmp_path) -> None:
    model, folder = trained
    export(folder, tmp_path / 'start.safetensors', precision='float32')
    tensors = load_file(tmp_path / 'start.safetensors')
    own = model.backbone.state_dict()
    assert all(torch.equal(tensors[name], own[name]) for name in own)


def test_mistakes(trained, tmp_path) -> None:
    model, folder = trained
    out = tmp_path / 'start.safetensors'
    with pytest.raises(CheckpointError, match='no finished training'):
        export(tmp_path / 'nowhere', out)
    with pytest.raises(ConfigError, match='pretrained_supervision must be'):
        export(folder, out, supervision='something')
    state = model.state_dict()
    state['backbone.vit.cls_token'] = torch.full_like(model.backbone.vit.cls_token, 1e6)
    save_file(state, folder / 'weights.safetensors')
    with pytest.raises(CheckpointError, match=r"'vit\.cls_token' is not finite as"):
        export(folder, out)
    save_file({'head.weight': torch.zeros(2)}, folder / 'weights.safetensors')
    with pytest.raises(CheckpointError, match='has no backbone'):
        export(folder, out)
    assert not out.exists() and not out.with_suffix('.json').exists()
