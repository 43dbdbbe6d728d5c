"""ExViT: weights of softmax models and of its own, reported key by key."""

from __future__ import annotations

import logging

import pytest
import timm
import torch
from mmengine.logging import MMLogger
from timm.models.vision_transformer import VisionTransformer

from wsss_plugins.backbones import EMHA, ExViT, emha, ex_vit, timm_vit
from wsss_plugins.errors import CheckpointError
from wsss_plugins.registry import MODELS, build_as

SMALL = dict(img_size=32, patch_size=8, embed_dim=24, depth=4, num_heads=3)
DEIT = dict(embed_dim=24, num_heads=2, depth=2)


def build(**kwargs: object) -> ExViT:
    """A small one in float64 whose attention is far from uniform, with biases."""
    model = ExViT(**SMALL, **kwargs).double().eval()
    for layer in emha_layers(model):
        torch.nn.init.normal_(layer.qkv.weight, std=0.3)
        if layer.bias is not None:
            torch.nn.init.normal_(layer.bias)
    return model


def emha_layers(model: ExViT) -> list[EMHA]:
    return [block.attn for block in model.vit.blocks]


# Weights ------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def deit(tmp_path_factory) -> str:
    """Weights of the real DeiT-Ti with its head, random."""
    path = tmp_path_factory.mktemp('weights') / 'deit_tiny.pth'
    model = timm.create_model('deit_tiny_patch16_224', pretrained=False)
    torch.save({'model': model.state_dict()}, path)
    return str(path)


def test_weights_of_deit_load_key_by_key(deit, monkeypatch) -> None:
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'propagate', True)
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    model = ExViT('deit_tiny_patch16_224', pretrained=deit)
    logger.removeHandler(handler)
    given = torch.load(deit, weights_only=True)['model']
    own = model.vit.state_dict()
    biases = {f'blocks.{i}.attn.bias' for i in range(12)}
    assert set(model.report.missing) == biases
    assert set(model.report.unexpected) == {'head.weight', 'head.bias'}
    assert model.report.other_shape == ()
    assert (
        set(model.report.loaded)
        == own.keys() - biases
        == given.keys()
        - {
            'head.weight',
            'head.bias',
        }
    )
    assert all(torch.equal(own[key], given[key]) for key in model.report.loaded)
    assert all((own[key] == 0).all() for key in biases)
    assert ex_vit.key_by_key(model.report) in lines
    text = lines[-1].splitlines()
    assert 'blocks.*.attn.qkv.weight (12)' in text[0] and 'pos_embed' in text[0]
    assert text[1:] == [
        'new: blocks.*.attn.bias (12)',
        'left out: head.weight, head.bias',
        'left out, other shape: none',
    ]


def test_weights_without_class_token(deit) -> None:
    model = ExViT('deit_tiny_patch16_224', pretrained=deit, class_token=False)
    given = torch.load(deit, weights_only=True)['model']
    assert model.num_prefix == 0
    assert torch.equal(model.vit.pos_embed, given['pos_embed'][:, 1:])
    assert set(model.report.unexpected) == {'cls_token', 'head.weight', 'head.bias'}
    assert torch.equal(
        model.vit.norm.weight, given['norm.weight']
    )  # not lost to fc_norm


def test_weights_at_another_size(deit) -> None:
    model = ExViT('deit_tiny_patch16_224', pretrained=deit, img_size=(96, 160))
    assert model.vit.pos_embed.shape == (1, 61, 192)
    given = torch.load(deit, weights_only=True)['model']
    assert torch.equal(model.vit.pos_embed[:, 0], given['pos_embed'][:, 0])


def test_prefix_tokens_that_are_not_there(deit) -> None:
    with pytest.raises(CheckpointError) as error:
        ExViT('deit_tiny_distilled_patch16_224', pretrained=deit)
    assert 'its position embeddings do not fit' in str(error.value)
    assert '\n' not in str(error.value)


def test_distilled_weights_in_a_plain_model(tmp_path) -> None:
    torch.save(
        timm.create_model('deit_tiny_distilled_patch16_224', **DEIT).state_dict(),
        tmp_path / 'distilled.pth',
    )
    model = ExViT(
        'deit_tiny_patch16_224',
        pretrained=str(tmp_path / 'distilled.pth'),
        **DEIT,
        fuse_blocks=1,
    )
    given = torch.load(tmp_path / 'distilled.pth', weights_only=True)
    expected = given['pos_embed'][:, [0, *range(2, 198)]]
    assert torch.equal(model.vit.pos_embed, expected)
    assert 'dist_token' in model.report.unexpected


@pytest.mark.parametrize('bias', emha.BIASES)
@pytest.mark.parametrize('how', ['pretrained', 'init_cfg'])
def test_trained_weights_come_back(tmp_path, bias, how) -> None:
    model, images = build(bias=bias).float(), torch.randn(2, 3, 24, 40)
    path = str(tmp_path / 'trained.pth')
    state = {f'backbone.{k}': v for k, v in model.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    config = {
        'pretrained': dict(pretrained=path),
        'init_cfg': dict(init_cfg=dict(type='Pretrained', checkpoint=path)),
    }[how]
    again = build_as(MODELS, dict(type='ExViT', bias=bias, **SMALL, **config), ExViT)
    assert not again.report.missing and not again.report.unexpected
    again.init_weights()  # mmengine calls it, and timm's would start anew
    assert torch.equal(again.eval()(images).fused, model(images).fused)


@pytest.mark.parametrize(
    'trained, built, shape',
    [
        (dict(bias='matrix'), dict(bias='head'), '(3,)'),
        (dict(bias='head'), dict(bias='none'), 'none'),
        (dict(bias='matrix'), dict(bias='matrix', img_size=48), '(3, 37, 37)'),
    ],
)
def test_a_trained_bias_is_not_lost(tmp_path, trained, built, shape) -> None:
    path = str(tmp_path / 'trained.pth')
    torch.save(ExViT(**SMALL, **trained).vit.state_dict(), path)
    with pytest.raises(CheckpointError) as error:
        ExViT(**{**SMALL, **built}, pretrained=path)
    assert f'a trained blocks.0.attn.bias that does not fit (here: {shape})' in str(
        error.value
    )


def test_weights_of_timm_by_name(monkeypatch) -> None:
    """pretrained=True: what timm fetches, here put in the place of the network."""
    asked = []

    def fetch(name: str, pretrained: bool, **kwargs: object):
        if pretrained:
            asked.append(name)
        torch.manual_seed(len(asked))
        return timm.create_model(name, pretrained=False, **kwargs)

    monkeypatch.setattr(timm_vit, 'create_timm_model', fetch)
    model = ExViT('vit_tiny_patch16_224', pretrained=True, class_token=False)
    assert asked == ['vit_tiny_patch16_224']
    torch.manual_seed(1)
    given = timm.create_model('vit_tiny_patch16_224', num_classes=0).state_dict()
    assert torch.equal(model.vit.pos_embed, given['pos_embed'][:, 1:])
    for key in model.report.loaded[1:]:
        assert torch.equal(model.vit.state_dict()[key], given[key]), key
    assert model.report.unexpected == ('cls_token',)


def test_a_model_that_is_built_already_keeps_its_weights() -> None:
    vit = VisionTransformer(num_classes=0, **SMALL)
    before = {k: v.clone() for k, v in vit.state_dict().items()}
    model = ExViT(vit)
    after = model.vit.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert len(after) == len(before) + 4
